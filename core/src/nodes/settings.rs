//! What the operator allows nodes (`gateway.nodes.*`).

/// The policy for nodes.
#[derive(Clone, Debug, Default)]
pub struct NodeSettings {
    /// Commands that are allowed beyond those of the platform.
    pub allow: Vec<String>,
    /// Commands that are never allowed.
    pub deny: Vec<String>,
}
