//! How many tokens may be taken: what gateways are told of limits, and what is kept of their counts.

use std::num::NonZeroU32;

use api::{
    id::GatewayId,
    internal::tokens::{Allowance, Counted, Granularity, Metered, Period, Spent, Tokens},
};
use controller::Shutdown;
use planner::policy::{Policy, tokens::Window, written};
use store::{PoliciesOf, domain::PRODUCTION};

use crate::world::World;

fn at_most(total: u64) -> Policy {
    let max_tokens = written::MaxTokens { granularity: "month".into(), total: Some(total), ..Default::default() };
    let (name, kind) = ("free".into(), "maxToken".into());
    written::Policy { name, kind, max_tokens: Some(max_tokens), ..Default::default() }.try_into().unwrap()
}

impl World {
    /// Waits until gateways are told this of what is limited, as the names of policies and what was counted.
    async fn until_limited(&self, of: &Metered, expected: Option<&[Tokens]>) {
        let told = |allowance: &Allowance| allowance.counted.iter().map(|(_, spent)| spent.tokens).collect::<Vec<_>>();
        self.eventually("gateways are told", || async {
            let table = self.gateway.table.borrow().clone()?;
            (table.allowances.get(of).map(told).as_deref() == expected).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn limits_hold_as_soon_as_they_are_attached_and_go_on_from_what_was_counted() {
    let world = World::new().await;
    let controller = world.start();
    let model = world.push_model("iris").await.model_id;
    let production = Metered::Environment(model.clone(), PRODUCTION.into());
    let attach = async |names: &[String]| {
        world.store.attach_policies(PoliciesOf::Environment(&model, PRODUCTION), names, None).await.unwrap();
    };
    world.store.add_policy(&at_most(10), world.now(), None).await.unwrap();
    attach(&["free".into()]).await;
    world.until_limited(&production, Some(&[])).await;

    let period = Period { granularity: Granularity::Month, step: NonZeroU32::MIN };
    let from_ms = Window::at(world.now(), period).from.0;
    let tokens = Tokens { input: 3, output: 4 };
    let (by, spent) = (GatewayId::from_entropy(1), Spent { period, from_ms, tokens });
    world.gateway.count(Counted { by, of: production.clone(), spent });
    controller.shutdown(Shutdown::LeaveReplicas).await.unwrap();
    let _controller = world.start();
    world.until_limited(&production, Some(&[tokens])).await;

    world.store.replace_policy(&at_most(20), world.now(), None).await.unwrap();
    world
        .eventually("the other rule holds", || async {
            let table = world.gateway.table.borrow().clone()?;
            let bounds = &table.allowances.get(&production)?.limits[0].most.bounds;
            bounds.values().all(|most| most.get() == 20).then_some(())
        })
        .await;
    attach(&[]).await;
    world.until_limited(&production, None).await;
}
