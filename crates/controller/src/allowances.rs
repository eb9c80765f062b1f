//! How many tokens what policies are attached to may take, and has taken by the last record. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use api::internal::tokens::{Allowance, Counted, Metered};
use planner::policy::{Level, Policy, ResourceType};

/// Everything that is limited, with nothing taken of it.
pub(crate) fn limits(
    policies: &BTreeMap<String, Policy>,
    attached: &BTreeMap<Metered, Arc<[String]>>,
) -> HashMap<Metered, Allowance> {
    let limited = |(of, names): (&Metered, &Arc<[String]>)| {
        let level = Level::new(names.iter().filter_map(|name| policies.get(name)), ResourceType::Model);
        let limits = level.token_limits().to_vec();
        (!limits.is_empty()).then(|| (of.clone(), Allowance { limits, counted: Vec::new() }))
    };
    attached.iter().filter_map(limited).collect()
}

/// Adds what gateways have counted.
pub(crate) fn count(allowances: &mut HashMap<Metered, Allowance>, counted: Vec<Counted>) {
    for Counted { by, of, spent } in counted {
        if let Some(allowance) = allowances.get_mut(&of) {
            allowance.counted.push((by, spent));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use api::{
        id::{DeploymentId, GatewayId, ModelId},
        internal::tokens::{Granularity, Period, Spent, Tokens},
    };
    use planner::policy::written;

    use super::*;

    fn policy(written: written::Policy) -> (String, Policy) {
        (written.name.clone(), written.try_into().unwrap())
    }

    fn tokens(name: &str, resource_types: Option<Vec<String>>) -> (String, Policy) {
        let max_tokens = written::MaxTokens { granularity: "day".into(), total: Some(9), ..Default::default() };
        let (name, kind) = (name.into(), "maxToken".into());
        policy(written::Policy { name, kind, max_tokens: Some(max_tokens), resource_types, ..Default::default() })
    }

    #[test]
    fn only_limits_for_models_count_and_all_of_them_do() {
        let country = written::Entry { kind: Some("country".into()), name: "fr".into() };
        let (name, kind) = ("fr".into(), "location".into());
        let place = policy(written::Policy { name, kind, locations: vec![country], ..Default::default() });
        let policies = [tokens("one", None), tokens("two", None), tokens("agents", Some(vec!["agent".into()])), place];
        let environment = Metered::Environment(ModelId::from_entropy(1), "production".into());
        let deployment = Metered::Deployment(DeploymentId::from_entropy(1));
        let attached = [
            (environment.clone(), ["one", "agents", "fr", "two"].map(str::to_owned).into()),
            (deployment.clone(), ["fr", "agents"].map(str::to_owned).into()),
        ];
        let mut limits = limits(&policies.into(), &attached.into());
        let names: Vec<&str> = limits[&environment].limits.iter().map(|limit| &*limit.policy).collect();
        assert_eq!((limits.len(), names), (1, vec!["one", "two"]));

        let period = Period { granularity: Granularity::Day, step: NonZeroU32::MIN };
        let spent = Spent { period, from_ms: 0, tokens: Tokens { input: 1, output: 2 } };
        let by = GatewayId::from_entropy(1);
        let counted = |of: &Metered| Counted { by: by.clone(), of: of.clone(), spent };
        count(&mut limits, vec![counted(&environment), counted(&deployment)]);
        assert_eq!((limits.len(), &limits[&environment].counted), (1, &vec![(by.clone(), spent)]));
    }
}
