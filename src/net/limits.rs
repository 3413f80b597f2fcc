//! What a peer can make grow, its limits, and the counters of what was refused.
//!
//! | What | Limit | At the limit | Counter |
//! |---|---|---|---|
//! | connections, with those that end | [`Limits::connections`] | a SYN is dropped; the peer tries again | [`Counters::syn_dropped`] |
//! | bytes of all buffers | [`Limits::bytes`] | the same | [`Counters::syn_dropped`] |
//! | half-open connections | [`Limits::half_open`] | the oldest is given up | [`Counters::half_open_dropped`] |
//! | connections that wait for `accept` | the listener's backlog, and those that were half-open when it was full | a SYN is dropped | [`Counters::backlog_full`] |
//! | connections that the program has closed, not yet over | [`Limits::orphans`] | the oldest is reset | [`Counters::orphans_reset`] |
//! | connections in TIME-WAIT | [`Limits::time_wait`] | the oldest is forgotten | [`Counters::time_wait_dropped`] |
//! | datagrams that wait to be received | [`Limits::datagrams`], [`Limits::datagram_bytes`] | a datagram is dropped | |
//! | hardware addresses of neighbors | 32 (a feature of `smoltcp`) | the one that expires first goes | |
//! | datagrams that are put together | 4 of 64 KiB, for 15 s (a feature of `smoltcp`) | a fragment is dropped | |

use core::time::Duration;

/// How much of everything there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections, of all kinds.
    pub connections: usize,
    /// The bytes of all buffers of connections.
    pub bytes: usize,
    /// Connections whose peer has not yet answered the SYN-ACK.
    pub half_open: usize,
    /// Connections that no program holds any more and that are not yet over.
    pub orphans: usize,
    /// Connections in TIME-WAIT that no program holds any more.
    pub time_wait: usize,
    /// The bytes of the receive buffer of a connection: the largest window.
    pub receive_buffer: usize,
    /// The bytes of the send buffer of a connection.
    pub send_buffer: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
    /// Datagrams that wait in one direction of a UDP socket.
    pub datagrams: usize,
    /// The bytes of those.
    pub datagram_bytes: usize,
    /// How long a half-open connection may stay so.
    pub half_open_time: Duration,
    /// How long a peer may take to answer a SYN, or to acknowledge data.
    pub answer_time: Duration,
    /// How long a connection that no program holds may take to end.
    pub orphan_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 512,
            bytes: 32 << 20,
            half_open: 64,
            orphans: 128,
            time_wait: 64,
            receive_buffer: 32 << 10,
            send_buffer: 32 << 10,
            udp_sockets: 64,
            datagrams: 64,
            datagram_bytes: 64 << 10,
            half_open_time: Duration::from_secs(10),
            answer_time: Duration::from_secs(60),
            orphan_time: Duration::from_secs(60),
        }
    }
}

/// What has happened so far. Names of Linux's `/proc/net/snmp` and `netstat` where it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that programs have opened (`ActiveOpens`).
    pub active_opens: u64,
    /// Connections that peers have opened (`PassiveOpens`).
    pub passive_opens: u64,
    /// Connections that the peer has reset (`EstabResets`).
    pub resets: u64,
    /// Connections that were given up because the peer didn't answer.
    pub timeouts: u64,
    /// SYNs dropped for want of a connection or of memory.
    pub syn_dropped: u64,
    /// SYNs dropped because a listener's backlog was full (`ListenOverflows`).
    pub backlog_full: u64,
    /// Half-open connections that were given up.
    pub half_open_dropped: u64,
    /// Connections that were reset because too many were on their way to their end
    /// (`TCPAbortOnMemory`), or because data came that no program would read (`TCPAbortOnData`).
    pub orphans_reset: u64,
    /// Connections that have left TIME-WAIT early (`TCPTimeWaitOverflow`).
    pub time_wait_dropped: u64,
    /// Frames that nothing could be made of, or that claimed to be from this machine.
    pub bad_frames: u64,
}
