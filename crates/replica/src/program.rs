//! What answers for the model: our worker, or a server of the user's own.

use std::{io, path::PathBuf, rc::Rc};

use api::internal::replica::{NotSwapped, Protocol};
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

    /// Goes on with the code of another build in the same process.
    pub async fn swap(&self, app: PathBuf) -> Result<(), NotSwapped> {
        match self {
            Program::Truss(truss) => truss.swap(app).await,
            Program::Server(_) => {
                let message = "a server of the user's own is started again for new code".into();
                Err(NotSwapped { message, is_broken: false, detail: None })
            }
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
