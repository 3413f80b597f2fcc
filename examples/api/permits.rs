use stillpoint::api::sync::Semaphore;

/// No more than four transfers at a time: the link has no room for others.
static TRANSFERS: Semaphore = Semaphore::new(4);

/// Does a transfer when its turn comes: the thread that has waited longest is the next.
pub(crate) fn transfer<R>(transfer_fn: impl FnOnce() -> R) -> R {
    TRANSFERS.acquire();
    let value = transfer_fn();
    TRANSFERS.release();
    value
}

/// Does a transfer that isn't important, if there is room.
pub(crate) fn transfer_if_free<R>(transfer_fn: impl FnOnce() -> R) -> Option<R> {
    if !TRANSFERS.try_acquire() {
        return None;
    }
    let value = transfer_fn();
    TRANSFERS.release();
    Some(value)
}
