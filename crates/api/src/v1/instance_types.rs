//! The kinds of machine a replica can have.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceType {
    /// Unique identifier, for `resources.instance_type`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// Memory, in MiB.
    pub memory_limit_mib: u64,
    /// Processor time, in thousandths of a CPU.
    pub millicpu_limit: u64,
    /// How many GPUs.
    pub gpu_count: u32,
    /// Their kind.
    pub gpu_type: Option<String>,
    /// Memory of one of them, in MiB.
    pub gpu_memory_limit_mib: Option<u64>,
}

/// A list of instance types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceTypes {
    /// The types, smallest first.
    pub instance_types: Vec<InstanceType>,
}

/// An instance type and what it costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceTypeWithPrice {
    /// The type.
    pub instance_type: InstanceType,
    /// US dollars a minute.
    pub price: f64,
}

/// A list of prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct InstanceTypePrices {
    /// The types with their prices.
    pub instance_types: Vec<InstanceTypeWithPrice>,
}
