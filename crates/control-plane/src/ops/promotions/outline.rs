//! What a promotion amounts to, before anything is done: pure, from what was read.

use std::collections::BTreeSet;

use api::v1::promotion::PromotionSettings;
use planner::{
    capacity::{Capacity, amount},
    fit::{Fit, Ground, Lot, Need, fit},
    promotion::{self, Cleanup, Mode, Room, Seen, Settings, Side},
};
use store::domain::{Deployment, Environment, Origin};

use super::{
    choice::{self, Case, Choice, Refusal},
    promote::Request,
    scene::{Scene, side_of_copy},
};
use crate::{
    ops::{Error, observed, promotion_settings},
    settings,
};

/// What sets a rollback apart from a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// What it comes from.
    pub origin: Origin,
    /// Whether traffic moves at once, whatever the environment's settings say.
    pub is_immediate: bool,
}

/// What would be promoted, by itself.
pub struct Chosen {
    /// What, or why nothing.
    choice: Result<Choice, Refusal>,
    /// On which instance type.
    pub instance_type: String,
    /// How, by the environment's settings and what the request changes in them.
    told: PromotionSettings,
}

impl Chosen {
    /// Says what it would be. Refuses settings that make no sense.
    pub fn of(scene: &Scene, request: &Request) -> Result<Self, Error> {
        let stored = promotion_settings::read(&scene.environment.promotion_settings)?;
        let told = promotion_settings::apply(stored, request.settings.clone())?;
        let choice = choice(scene, request, &told);
        let instance_type = match &choice {
            Ok(Choice::Copy { instance_type, .. }) => instance_type.clone(),
            Ok(Choice::Itself) | Err(_) => scene.deployment.instance_type.clone(),
        };
        Ok(Self { choice, instance_type, told })
    }
}

/// What a promotion amounts to.
pub struct Outline {
    /// What would be promoted, or why nothing.
    pub choice: Result<Choice, Refusal>,
    /// On which instance type.
    pub instance_type: String,
    /// Whether it fits.
    pub fit: Fit,
    /// How it goes.
    pub settings: Settings,
}

impl Outline {
    /// Says what the request amounts to, where the candidate may run in these locations. Refuses settings that make no sense.
    pub fn of(
        scene: &Scene,
        request: &Request,
        way: Way,
        chosen: Chosen,
        locations: &BTreeSet<String>,
        control_plane: &settings::Settings,
    ) -> Result<Self, Error> {
        let Chosen { choice, instance_type, told } = chosen;
        let min_ready_ms = u64::try_from(control_plane.min_ready.as_millis()).unwrap_or(u64::MAX);
        let as_told = Environment { promotion_settings: promotion_settings::write(&told), ..scene.environment.clone() };
        let mut settings = as_told.promotion(Room::Beside, scene.deployment.deploy_timeout_ms, min_ready_ms)?;
        if way.is_immediate {
            settings.mode = Mode::Immediate;
        }
        if !request.cleans_up {
            settings.cleanup = Cleanup::Keep;
        }
        let mut outline = Self { choice, instance_type, fit: Fit::Beside, settings };
        outline.fit = outline.fit(scene, locations, control_plane);
        if matches!(outline.fit, Fit::InPlace { .. }) {
            outline.settings.room = Room::InPlace;
        }
        Ok(outline)
    }

    /// Why nothing would be promoted, in words.
    pub fn refused(&self) -> Option<String> {
        match (&self.choice, &self.fit) {
            (Err(refusal), _) => Some(refusal.to_string()),
            (Ok(_), Fit::No { reason }) => Some(reason.clone()),
            (Ok(_), Fit::Beside | Fit::InPlace { .. }) => None,
        }
    }

    /// The candidate, as it would begin.
    pub fn candidate<'a>(&self, scene: &'a Scene) -> Side<'a> {
        match &self.choice {
            Ok(Choice::Copy { .. }) => side_of_copy(&scene.deployment),
            Ok(Choice::Itself) | Err(_) => scene.side(&scene.deployment),
        }
    }

    /// What the promotion sees at its beginning.
    pub fn seen<'a>(&self, scene: &'a Scene) -> Seen<'a> {
        Seen {
            candidate: self.candidate(scene),
            previous: scene.current().map(|current| scene.side(current)),
            load: planner::autoscale::Load::default(),
            autoscaling: &scene.environment.autoscaling,
            published_percent: None,
        }
    }

    fn fit(&self, scene: &Scene, locations: &BTreeSet<String>, control_plane: &settings::Settings) -> Fit {
        let total = scene.current().map_or(0, |current| current.target_replicas).max(1);
        let is_itself = !matches!(self.choice, Ok(Choice::Copy { .. }));
        let need = Need {
            candidate: is_itself.then_some(&scene.deployment.id),
            each: amount(&control_plane.instance_types, &self.instance_type),
            previous: scene.environment.current.as_ref(),
            beside: promotion::replicas_beside(&self.settings, total),
            alone: total,
        };
        let boundless = Capacity::default();
        let capacity = |name| control_plane.location_capacities.get(name).unwrap_or(&boundless);
        let lots: Vec<Lot<'_>> = locations.iter().map(|name| Lot { name, capacity: capacity(name) }).collect();
        fit(Ground { capacity: &control_plane.capacity, lots: &lots, occupancy: &scene.occupancy }, &need)
    }
}

fn choice(scene: &Scene, request: &Request, told: &PromotionSettings) -> Result<Choice, Refusal> {
    let deployment: &Deployment = &scene.deployment;
    choice::choose(&Case {
        deployment,
        status: observed::status(&deployment.lifecycle, scene.replicas(deployment)),
        // Whatever its origin serves by now, what is released is a copy.
        serves: scene.serves().or(request.released.as_ref().map(|released| released.from.as_str())),
        candidate_for: scene.candidate_for(),
        environment: &scene.environment,
        current: scene.current(),
        is_busy: scene.is_busy(),
        settings: told,
        keeps_instance_type: request.keeps_instance_type,
    })
}
