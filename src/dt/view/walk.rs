//! Walking over the nodes, knowing where in the tree each of them is.
//!
//! `fdt` goes over all nodes without recursion, but doesn't say how deep each
//! of them is. The tokens do: walking both in step gives each node its parents.

use fdt::node::FdtNode;

use super::DeviceTree;
use super::text::{Text, texts};
use crate::dt::MAX_DEPTH;
use crate::dt::token::{Token, Tokens};

/// A node, as `fdt` has it.
pub(super) type Node<'b, 'a> = FdtNode<'b, 'a>;

/// A node with all nodes above it.
pub(super) struct Path<'b, 'a> {
    /// The root first, this node at `depth`; what is behind it is stale.
    nodes: [Node<'b, 'a>; MAX_DEPTH],
    depth: usize,
    node: Node<'b, 'a>,
}

impl<'b, 'a> Path<'b, 'a> {
    /// Returns the node itself.
    pub(super) fn node(&self) -> Node<'b, 'a> {
        self.node
    }

    /// Returns the nodes above it, its parent first, the root last.
    pub(super) fn parents(&self) -> impl Iterator<Item = Node<'b, 'a>> {
        let above = self.nodes.get(..self.depth).unwrap_or_default();
        above.iter().rev().copied()
    }

    /// Returns whether neither the node nor a bus above it is disabled.
    pub(super) fn is_enabled(&self) -> bool {
        is_enabled(self.node) && self.parents().all(is_enabled)
    }

    /// Returns whether `path` leads here. A component without unit address matches a node
    /// with any.
    fn is_at(&self, path: &str) -> bool {
        let mut components = path.split('/').filter(|part| !part.is_empty());
        let below_root = self.nodes.iter().take(self.depth + 1).skip(1);
        for node in below_root {
            let matches =
                |part: &str| node.name == part || (!part.contains('@') && is_named(*node, part));
            if !components.next().is_some_and(matches) {
                return false;
            }
        }
        components.next().is_none()
    }
}

/// What a node's `status` says (Devicetree Specification, 2.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// "okay", "ok", or nothing.
    Okay,
    /// "disabled".
    Disabled,
    /// "fail", or "fail-" and why.
    Failed,
    /// "reserved", which is another program's, or something that the specification
    /// hasn't.
    Other,
}

/// Returns what the `status` of `node` says.
pub(super) fn status(node: Node<'_, '_>) -> Status {
    let Some(status) = node.property("status") else {
        return Status::Okay;
    };
    match Text::new(status.value).bytes() {
        b"okay" | b"ok" => Status::Okay,
        b"disabled" => Status::Disabled,
        b"fail" => Status::Failed,
        other if other.starts_with(b"fail-") => Status::Failed,
        _ => Status::Other,
    }
}

/// Returns whether `status` lets this node be used.
pub(super) fn is_enabled(node: Node<'_, '_>) -> bool {
    status(node) == Status::Okay
}

/// Returns whether `node` is called `name`, its unit address not counted.
pub(super) fn is_named(node: Node<'_, '_>, name: &str) -> bool {
    node.name.split('@').next() == Some(name)
}

/// Returns whether the `device_type` of `node` is `class`.
pub(super) fn is_of_type(node: Node<'_, '_>, class: &str) -> bool {
    node.property("device_type")
        .is_some_and(|own| Text::new(own.value).bytes() == class.as_bytes())
}

/// Returns whether `node` says it is compatible with one of `names`.
pub(super) fn is_compatible(node: Node<'_, '_>, names: &[&str]) -> bool {
    node.property("compatible").is_some_and(|own| {
        texts(own.value).any(|own| names.iter().any(|name| name.as_bytes() == own))
    })
}

impl<'a> DeviceTree<'a> {
    /// Returns all nodes in the tree's order, each with its depth; the root has 0.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (usize, Node<'_, 'a>)> {
        let depths = Depths {
            tokens: self.tokens(),
            depth: 0,
        };
        depths.zip(self.fdt.all_nodes())
    }

    /// Returns the children of `/parent`, each behind that node itself.
    pub(super) fn children_of(
        &self,
        parent: &'static str,
    ) -> impl Iterator<Item = (Node<'_, 'a>, Node<'_, 'a>)> {
        let mut inside = None;
        self.nodes().filter_map(move |(depth, node)| {
            if depth <= 1 {
                inside = (depth == 1 && node.name == parent).then_some(node);
            }
            inside.filter(|_| depth == 2).map(|parent| (parent, node))
        })
    }

    /// Returns the first thing that `look` returns for a node, over all nodes.
    pub(super) fn find_map<'b, T>(
        &'b self,
        mut look: impl FnMut(&Path<'b, 'a>) -> Option<T>,
    ) -> Option<T> {
        let mut nodes = self.nodes();
        let (depth, node) = nodes.next()?;
        let mut path = Path {
            nodes: [node; MAX_DEPTH],
            depth,
            node,
        };
        loop {
            if let Some(found) = look(&path) {
                return Some(found);
            }
            (path.depth, path.node) = nodes.next()?;
            // Invariant 2 of `check`: no node is deeper than there is room for.
            *path.nodes.get_mut(path.depth)? = path.node;
        }
    }

    /// Returns what `read` makes of the node at `path`, if there is one.
    pub(super) fn at_path<'b, T>(
        &'b self,
        path: &str,
        mut read: impl FnMut(&Path<'b, 'a>) -> T,
    ) -> Option<T> {
        self.find_map(|place| place.is_at(path).then(|| read(place)))
    }

    /// Returns the node at `path`.
    pub(super) fn find<'b>(&'b self, path: &str) -> Option<Node<'b, 'a>> {
        self.at_path(path, Path::node)
    }
}

/// The depth of each node, in the tree's order.
struct Depths<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

impl Iterator for Depths<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            match self.tokens.read().ok()? {
                Token::BeginNode(_) => {
                    let depth = self.depth;
                    self.depth += 1;
                    return Some(depth);
                }
                Token::EndNode => self.depth = self.depth.checked_sub(1)?,
                Token::Property(..) | Token::Nop => {}
                Token::End => return None,
            }
        }
    }
}
