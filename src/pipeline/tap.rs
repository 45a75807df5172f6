//! An output as container libraries write to it: what went wrong is kept, as they turn it into their own errors.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pipeline::Failure;
use crate::pipeline::drain::Outlet;

/// Why writing failed, once it has.
#[derive(Clone, Default)]
pub(super) struct Mishap(Arc<Mutex<Option<Failure>>>);

impl Mishap {
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, failure: Failure) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }
}

pub(super) struct Tap {
    pub outlet: Outlet,
    pub mishap: Mishap,
}

impl Tap {
    pub(super) fn new(outlet: Outlet) -> Tap {
        Tap { outlet, mishap: Mishap::default() }
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.outlet.drain.write(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(failure) => {
                self.mishap.set(failure);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
