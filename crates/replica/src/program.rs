//! What answers for the model: our worker, or a server of the user's own.

use std::{io, rc::Rc};

use api::internal::replica::Protocol;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::{body::Body, server::Server, status::Board, truss::Truss};

/// Either kind.
#[derive(Clone)]
pub enum Program {
    /// A `Model` class in our worker.
    Truss(Rc<Truss>),
    /// A server behind our proxy.
    Server(Rc<Server>),
}

impl Program {
    /// Answers a request for the model.
    pub async fn answer(&self, board: &Rc<Board>, request: Request<Incoming>) -> Response<Body> {
        match self {
            Program::Truss(truss) => truss.answer(board, request).await,
            Program::Server(server) => server.answer(board, request).await,
        }
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        match self {
            Program::Truss(_) => Protocol::Http,
            Program::Server(server) => server.protocol(),
        }
    }

    /// Rewrites the environment file, and tells the model where it can listen.
    pub fn set_environment(&self, environment: serde_json::Value) -> io::Result<()> {
        match self {
            Program::Truss(truss) => truss.set_environment(environment),
            Program::Server(server) => server.set_environment(environment),
        }
    }
}
