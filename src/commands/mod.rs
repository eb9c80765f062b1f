//! One file a verb. Each has its `Args` (the grammar) and a `run` (the work); what several share stands in [`target`].

pub mod activate;
pub mod apply;
pub mod audit;
pub mod autoscale;
pub mod ca;
pub mod client_env;
pub mod completions;
pub mod config_show;
pub mod deactivate;
pub mod delete;
pub mod deployments;
pub mod diff;
mod difference;
pub mod environments;
pub mod get;
pub mod keys;
pub mod locations;
pub mod login;
pub mod logs;
pub mod models;
pub mod open;
pub mod openapi;
pub mod policies;
pub mod predict;
pub mod promote;
mod promotion;
pub mod push;
pub mod release;
pub mod rename;
pub mod retry;
pub mod rollback;
pub mod rollout;
pub mod rotate_server_secret;
pub mod secrets;
pub mod serve;
pub mod service_accounts;
mod settings;
mod source;
pub mod startups;
pub mod status;
mod tail;
mod target;
pub mod teams;
pub mod top;
mod upload;
pub mod usage;
pub mod users;
mod wait;
pub mod watch;
pub mod workspace_settings;

use std::cell::RefCell;

use crate::{client::Client, config, failure::Result, printer::Printer};

/// What every command has at hand.
pub struct Context {
    /// The flags that say which server.
    pub client_flags: config::ClientFlags,
    /// Where answers go.
    pub printer: Printer,
    /// What somebody who interrupts the command now should know.
    pub parting_words: RefCell<Option<String>>,
}

impl Context {
    /// Says what somebody should know who interrupts from here on.
    pub fn on_interrupt(&self, words: String) {
        *self.parting_words.borrow_mut() = Some(words);
    }

    /// The server that the flags, the environment and the login name.
    pub fn client(&self) -> Result<Client> {
        Client::new(config::Client::resolve(&self.client_flags)?)
    }
}
