//! Whether a change is made, or only tried.

/// What comes of a change that is in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is made.
    Lasting,
    /// Nothing: somebody wants to know whether it is in order.
    None,
}
