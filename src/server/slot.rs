//! What the record of a connection keeps of its handler.

const NO_ROUTE: u16 = u16::MAX;

/// The handler of a connection, and the place of the state that it keeps for it. Its 6 bytes fit where the record of an idle
/// connection has room left.
#[derive(Clone, Copy, Debug)]
pub(super) struct HandlerSlot {
    route: u16,
    /// A number of 32 bits with the alignment of 16.
    state: [u16; 2],
}

impl Default for HandlerSlot {
    fn default() -> Self {
        Self { route: NO_ROUTE, state: [0; 2] }
    }
}

impl HandlerSlot {
    /// The number of the handler; none has this number before the upgrade, and after the end.
    #[inline]
    pub(super) fn route(self) -> u16 {
        self.route
    }

    /// The place of the connection's state among those of its handler.
    #[inline]
    pub(super) fn state(self) -> usize {
        usize::from(self.state[1]) << 16 | usize::from(self.state[0])
    }

    pub(super) fn set_state(&mut self, state: usize) {
        self.state = [state as u16, (state >> 16) as u16];
    }

    /// Assigns the handler that gets the connection's events from now on.
    pub(super) fn set_route(&mut self, route: u16) {
        self.route = route;
    }

    /// Leaves the connection without a handler.
    pub(super) fn leave(&mut self) {
        self.route = NO_ROUTE;
    }
}
