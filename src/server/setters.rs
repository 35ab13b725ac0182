//! The methods of [`Server`] that change its settings: one for each field of [`super::Config`].

use super::Server;
use super::config::{Protocol, for_each_setting};
use super::hook::Hook;
use crate::net::conn::QueueLimits;
use crate::net::listener::SocketBuffers;
use crate::net::sweep::Deadlines;
use crate::proto::session::Limits;
use crate::proto::upgrade::Policy;

/// Declares the methods. The defaults are those of [`super::Config`].
macro_rules! declare_setters {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty = $default:expr,)*) => {
        impl Server {
            $($(#[doc = $doc])*
            #[must_use]
            pub fn $name(mut self, $name: impl Into<$type>) -> Self {
                self.config.$name = $name.into();
                self
            })*
        }
    };
}

for_each_setting!(declare_setters);
