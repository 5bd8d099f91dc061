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
    cancel: Cancel,
    measured: Option<Measured>,
}

impl Exchange {
    /// A request has arrived.
    #[cfg(feature = "http2")]
    pub(crate) fn begin(&self) -> Scope {
        self.begin_with(None)
    }

    /// A request has arrived; its context may be what [`Scope::end`] answered for the one before.
    pub(crate) fn begin_with(&self, spare: Option<(Context, Cancel)>) -> Scope {
        let (context, cancel) = match (self.settings.request_timeout, spare) {
            (Some(time), _) => self.context.with_timeout(time),
            (None, Some(spare)) => spare,
            (None, None) => self.context.with_cancel(),
        };
        Scope {
            context,
            cancel,
            measured: self.settings.metrics.as_ref().map(Measured::begin),
        }
    }
}

impl Scope {
    /// Ends the request; its context, if the next request can have it.
    pub(crate) fn end(self) -> Option<(Context, Cancel)> {
        match self.context.deadline() {
            None => self.cancel.renew(self.context),
            Some(_) => None,
        }
    }

    /// Its response is known.
    pub(crate) fn answered(&mut self, status: StatusCode, extensions: &mut Extensions) {
        if let Some(measured) = &mut self.measured {
            measured.answered(status, extensions.remove::<Route>());
        }
    }
}
