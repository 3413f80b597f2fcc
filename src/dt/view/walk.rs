//! Walks over the nodes, with the parents of each.
//!
//! `fdt` iterates over all nodes without recursion, but doesn't tell how deep each of them
//! is. The tokens tell that, so a walk reads both at the same time.

use fdt::node::FdtNode;

use super::DeviceTree;
use super::text::{Text, texts};
use crate::dt::MAX_DEPTH;
use crate::dt::token::{Token, Tokens};

/// A node, as `fdt` represents it.
pub(super) type Node<'b, 'a> = FdtNode<'b, 'a>;

/// A node with all nodes above it.
pub(super) struct Path<'b, 'a> {
    /// The root, the nodes below it, and at `depth` this node. Entries behind that are left
    /// from other nodes.
    nodes: [Node<'b, 'a>; MAX_DEPTH],
    /// How many nodes are above this node; 0 for the root.
    depth: usize,
    node: Node<'b, 'a>,
}

impl<'b, 'a> Path<'b, 'a> {
    /// Returns the path of the root.
    fn of_root(root: Node<'b, 'a>) -> Path<'b, 'a> {
        Path {
            nodes: [root; MAX_DEPTH],
            depth: 0,
            node: root,
        }
    }

    /// Goes on to the next node in the tree's order.
    fn go_to(&mut self, depth: usize, node: Node<'b, 'a>) -> Option<()> {
        (self.depth, self.node) = (depth, node);
        // There is room for it (nesting-is-bounded).
        *self.nodes.get_mut(depth)? = node;
        Some(())
    }

    /// Returns the node itself.
    pub(super) fn node(&self) -> Node<'b, 'a> {
        self.node
    }

    /// Returns the nodes above this node: its parent first, the root last.
    pub(super) fn parents(&self) -> impl Iterator<Item = Node<'b, 'a>> {
        let above = self.nodes.get(..self.depth).unwrap_or_default();
        above.iter().rev().copied()
    }

    /// Returns whether the node and all nodes above it are enabled.
    pub(super) fn is_enabled(&self) -> bool {
        is_enabled(self.node) && self.parents().all(is_enabled)
    }

    /// Returns whether `path` is the path of this node. A component without a unit address
    /// matches a node with any unit address.
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

/// The value of a node's `status` (Devicetree Specification, "status").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// "okay", "ok", or no `status`.
    Okay,
    /// "disabled".
    Disabled,
    /// "fail", or "fail-" and a reason.
    Failed,
    /// "reserved", which means that another program owns the node, or a value that the
    /// specification doesn't have.
    Other,
}

/// Returns the value of the `status` of `node`.
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

/// Returns whether the `status` of `node` allows its use.
pub(super) fn is_enabled(node: Node<'_, '_>) -> bool {
    status(node) == Status::Okay
}

/// Returns whether the name of `node`, without its unit address, is `name`.
pub(super) fn is_named(node: Node<'_, '_>, name: &str) -> bool {
    node.name.split('@').next() == Some(name)
}

/// Returns whether the `device_type` of `node` is `class`.
pub(super) fn is_of_type(node: Node<'_, '_>, class: &str) -> bool {
    node.property("device_type")
        .is_some_and(|own| Text::new(own.value).bytes() == class.as_bytes())
}

/// Returns whether the `compatible` of `node` has one of `names`.
pub(super) fn is_compatible(node: Node<'_, '_>, names: &[&str]) -> bool {
    node.property("compatible").is_some_and(|own| {
        texts(own.value).any(|own| names.iter().any(|name| name.as_bytes() == own))
    })
}

impl<'a> DeviceTree<'a> {
    /// Returns all nodes in the tree's order, each with its depth. The root's depth is 0.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (usize, Node<'_, 'a>)> {
        let depths = Depths {
            tokens: self.tokens(),
            depth: 0,
        };
        depths.zip(self.fdt.all_nodes())
    }

    /// Returns the pairs of the node `/parent` and a child of it, for each child.
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

    /// Calls `look` for each node in the tree's order, and returns what it returns as `Some`.
    /// The iterator has a size of about 4 KiB.
    pub(super) fn filter_map<'b, T>(
        &'b self,
        mut look: impl FnMut(&Path<'b, 'a>) -> Option<T>,
    ) -> impl Iterator<Item = T> {
        let mut nodes = self.nodes();
        let mut place = None;
        core::iter::from_fn(move || {
            loop {
                let (depth, node) = nodes.next()?;
                let path = place.get_or_insert(Path::of_root(node));
                path.go_to(depth, node)?;
                if let Some(found) = look(path) {
                    return Some(found);
                }
            }
        })
    }

    /// Calls `look` for each node in the tree's order until it returns `Some`; returns that. It is
    /// no call of [`DeviceTree::filter_map`], which would move the path and take twice the stack.
    pub(super) fn find_map<'b, T>(
        &'b self,
        mut look: impl FnMut(&Path<'b, 'a>) -> Option<T>,
    ) -> Option<T> {
        let mut nodes = self.nodes();
        let (_, root) = nodes.next()?;
        let mut path = Path::of_root(root);
        loop {
            if let Some(found) = look(&path) {
                return Some(found);
            }
            let (depth, node) = nodes.next()?;
            path.go_to(depth, node)?;
        }
    }

    /// Calls `read` for the node at `path`, if there is one; returns its result.
    pub(super) fn at_path<'b, T>(
        &'b self,
        path: &str,
        mut read: impl FnMut(&Path<'b, 'a>) -> T,
    ) -> Option<T> {
        self.find_map(|place| place.is_at(path).then(|| read(place)))
    }

    /// Returns the node at `path`, if there is one.
    pub(super) fn find<'b>(&'b self, path: &str) -> Option<Node<'b, 'a>> {
        self.at_path(path, Path::node)
    }
}

/// An iterator over the depth of each node, in the tree's order.
struct Depths<'a> {
    tokens: Tokens<'a>,
    /// How many nodes have begun and not ended.
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
