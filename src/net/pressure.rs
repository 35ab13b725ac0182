//! What is done for memory on a tick: unfinished things end while it is short, and those that were paused go on.

use super::cause::Deadline;
use super::closing;
use super::core::Core;
use super::driver::Driver;
use super::sys;

/// Does what is due for memory before connections have their turns: `ticks` have passed.
pub(super) fn tend<D: Driver>(core: &mut Core<D::State>, driver: &mut D, ticks: u32) {
    core.look_at_memory();
    if ticks > 0 && !core.memory.kept.is_empty() {
        tend_on_tick(core, driver);
    }
    let (used, step) = (core.memory.used_bytes(), core.memory.limit.max_bytes() / 64);
    core.memory.tried_bytes = core.memory.tried_bytes.max(used);
    let is_less = used.saturating_add(step) <= core.memory.tried_bytes;
    if core.memory.paused.is_empty() || core.context.queueing.is_full || !(is_less || ticks > 0) {
        return;
    }
    core.memory.tried_bytes = used;
    for id in std::mem::take(&mut core.memory.paused) {
        if let Some(kept) = core.memory.kept.get_mut(&id) {
            kept.is_paused = false;
        }
        core.make_ready(id);
    }
}

fn tend_on_tick<D: Driver>(core: &mut Core<D::State>, driver: &mut D) {
    if core.memory.is_tight() {
        core.input.pool.clear();
    }
    if core.memory.is_tight() || !core.memory.paused.is_empty() {
        let oldest = core.oldest();
        for &id in &oldest {
            closing::end_unfinished(core, id);
        }
        if !oldest.is_empty() {
            sys::trim_heap();
        }
    }
    if core.memory.second != core.context.now.second {
        core.memory.second = core.context.now.second;
        for id in core.slow_messages() {
            closing::missed(core, driver, id, Deadline::Message);
        }
        #[cfg(debug_assertions)]
        core.check_memory();
    }
}
