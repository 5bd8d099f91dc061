//! One request from its arrival to the end of its response: its context, and how long it took.

use crate::connections::Connection;
use crate::metrics::{Measured, Route};
use crate::settings::ServerBuilder;
use gaggle::context::{Cancel, Context};
use http::{Extensions, StatusCode};
use std::sync::Arc;

/// What all requests of one connection have in common.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) settings: Arc<ServerBuilder>,
    /// Ends when the client goes away, and carries who it is.
    pub(crate) context: Context,
    pub(crate) connection: Arc<Connection>,
}

/// One request; its context ends when this drops.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) context: Context,
    _cancel: Cancel,
    measured: Option<Measured>,
}

impl Exchange {
    /// A request has arrived.
    pub(crate) fn begin(&self) -> Scope {
        let (context, cancel) = match self.settings.request_timeout {
            Some(time) => self.context.with_timeout(time),
            None => self.context.with_cancel(),
        };
        Scope {
            context,
            _cancel: cancel,
            measured: self.settings.metrics.as_ref().map(Measured::begin),
        }
    }
}

impl Scope {
    /// Its response is known.
    pub(crate) fn answered(&mut self, status: StatusCode, extensions: &mut Extensions) {
        if let Some(measured) = &mut self.measured {
            measured.answered(status, extensions.remove::<Route>());
        }
    }
}
