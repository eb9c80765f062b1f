//! The Truss packaging format's `config.yaml`.

use serde::{Deserialize, Serialize};

/// A parsed config. (Fields arrive with the parser.)
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrussConfig {}
