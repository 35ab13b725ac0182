//! Relieves pressure on memory, once in each iteration: unfinished messages end while memory is short, and paused
//! connections are read again.

use super::cause::Deadline;
use super::closing;
use super::core::Core;
use super::driver::Driver;
use super::sys;

/// Relieves pressure on memory before connections have their turns; `ticks` have passed.
pub(super) fn relieve<D: Driver>(core: &mut Core<D::State>, driver: &mut D, ticks: u32) {
    core.check_memory_limit();
    if ticks > 0 && !core.memory.kept.is_empty() {
        relieve_on_tick(core, driver);
    }
    let (used, step) = (core.memory.used_bytes(), core.memory.limit.max_bytes() / 64);
    core.memory.peak_bytes = core.memory.peak_bytes.max(used);
    let is_less = used.saturating_add(step) <= core.memory.peak_bytes;
    if core.memory.paused.is_empty() || core.context.queueing.is_full || !(is_less || ticks > 0) {
        return;
    }
    core.memory.peak_bytes = used;
    for id in std::mem::take(&mut core.memory.paused) {
        if let Some(kept) = core.memory.kept.get_mut(&id) {
            kept.is_paused = false;
        }
        core.make_ready(id);
    }
}

fn relieve_on_tick<D: Driver>(core: &mut Core<D::State>, driver: &mut D) {
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
            closing::on_missed(core, driver, id, Deadline::Message);
        }
        #[cfg(debug_assertions)]
        core.check_memory();
    }
}
