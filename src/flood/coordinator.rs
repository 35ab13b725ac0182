//! The coordinator: runs the phases one after the other on the workers, and writes the report.

use super::command::{Command, PhaseTask, Results, Samples, ScheduleParams, Slow, WorkerEvent};
use super::config::Config;
use super::error::FloodError;
use super::interrupt::Interrupt;
use super::latency::{Latencies, MEASURES, Measure};
use super::ledger::{Counts, RESET, Stage, add_causes};
use super::progress::{PROGRESS_EVERY, Progress, Timeline};
use super::report::{
    Connections, Interrupted, PerSide, PhaseReport, Report, SCHEMA, Schedule, SideMemory, States, Timing,
};
use super::scenario::{MAX_PER_S, Phase, Scenario};
use super::server::ServerView;
use super::worker_pool::{WorkerPool, share};
use crate::net::sys;
use crate::stats::{Cpu, Memory};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Delay before a schedule starts, so that every worker has received it.
const SCHEDULE_AFTER: Duration = Duration::from_millis(50);

/// The longest time from one message of a connection to the next: 30 years.
const MAX_INTERVAL_US: u64 = 1 << 50;

/// The coordinator of a flood.
pub(super) struct Flood<'a> {
    config: &'a Config,
    scenario: Scenario,
    names: Vec<String>,
    pool: WorkerPool,
    view: ServerView<'a>,
    interrupt: Interrupt<'a>,
    observe: &'a mut dyn FnMut(&Progress),
    began: Instant,
    started_at: SystemTime,
    timeline: Timeline,
    phases: Vec<PhaseReport>,
    /// The index of the current phase in the scenario. The next two fields are its start and its measurements.
    at: usize,
    phase_began: Instant,
    samples: Samples,
    /// The serial number of the last task; workers report it when the task is done.
    serial: usize,
    /// How many connections, over all shards, the ramps have asked for so far.
    ramped: u32,
    memory_before: Memory,
    cpu_before: Cpu,
    memory: Option<PerSide<SideMemory>>,
    cpu: Option<PerSide<Option<Cpu>>>,
}

impl<'a> Flood<'a> {
    pub(super) fn new(
        config: &'a Config,
        scenario: Scenario,
        pool: WorkerPool,
        interrupts: &'a AtomicU32,
        observe: &'a mut dyn FnMut(&Progress),
    ) -> Self {
        let began = Instant::now();
        Self {
            config,
            names: scenario.names(),
            scenario,
            view: ServerView::new(config, Arc::clone(&pool.config)),
            pool,
            interrupt: Interrupt::new(interrupts, config.interrupt_s),
            observe,
            began,
            started_at: SystemTime::now(),
            timeline: Timeline::new(began),
            phases: Vec::new(),
            at: 0,
            phase_began: began,
            samples: Samples::default(),
            serial: 0,
            ramped: 0,
            memory_before: Memory::default(),
            cpu_before: Cpu::default(),
            memory: None,
            cpu: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Report, FloodError> {
        self.memory_before = Memory::read(None);
        if !self.is_interrupted() {
            self.view.begin();
        }
        self.cpu_before = own_cpu();
        let phases = self.scenario.phases.clone();
        for (at, phase) in phases.iter().enumerate() {
            let is_drain = matches!(phase, Phase::Drain { .. });
            self.at = at;
            self.phase_began = Instant::now();
            if self.is_interrupted() && !is_drain {
                self.end_phase(); // a skipped phase still appears in the report
                continue;
            }
            if !self.is_interrupted() {
                self.measure_usage(phase);
            }
            self.phase_began = Instant::now(); // a server under load may answer /stats slowly
            self.run_phase(phase)?;
            self.end_phase();
        }
        let results = self.finish()?;
        Ok(self.report(&results))
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }

    /// Returns this shard's share of the connections, from 0 to 1.
    fn shard_share(&self) -> f64 {
        self.config.own_connections().len() as f64 / f64::from(self.config.connections)
    }

    fn run_phase(&mut self, phase: &Phase) -> Result<(), FloodError> {
        match *phase {
            Phase::Ramp { connections, per_s, over_s, steps } => {
                let more = connections.unwrap_or(self.config.connections - self.ramped);
                self.ramp(more, per_s, over_s, steps)
            }
            Phase::Reply { messages } => self.run_task(&|_| PhaseTask::Reply { messages }, None),
            Phase::Check {} => self.run_task(&|_| PhaseTask::Check, None),
            Phase::Storm { share } => self.run_task(&|_| PhaseTask::Storm { share }, None),
            Phase::Rate { for_s, per_s, total_per_s } => self.rate(for_s, per_s, total_per_s),
            Phase::Hold { for_s, trickle_per_s } => {
                let per_s = trickle_per_s * self.shard_share() / self.pool.len() as f64;
                self.run_task(&|_| PhaseTask::Hold { per_s }, Some(for_s))
            }
            Phase::Receive { for_s, messages } => {
                self.run_task(&|_| PhaseTask::Receive { messages, slow: Slow::default() }, Some(for_s))
            }
            Phase::Slow { for_s, share, bytes_per_s } => {
                let slow = Slow { share, bytes_per_s };
                self.run_task(&|_| PhaseTask::Receive { messages: None, slow }, Some(for_s))
            }
            Phase::Drain { over_s } => {
                let open = States::from(self.pool.counts().stages).held_open() as f64;
                let per_s = over_s.filter(|over_s| *over_s > 0.0).map(|over_s| open / over_s);
                let per_s = per_s.filter(|per_s| *per_s > 0.0).map(|per_s| per_s / self.pool.active as f64);
                self.run_task(&|_| PhaseTask::Close { per_s }, None)
            }
        }
    }

    fn ramp(
        &mut self,
        more: u32,
        per_s: Option<f64>,
        over_s: Option<f64>,
        steps: Option<u32>,
    ) -> Result<(), FloodError> {
        let before = self.ramped;
        let rate = match (per_s, over_s, steps) {
            (None, Some(over_s), None) if over_s > 0.0 => Some(f64::from(more) / over_s),
            _ => per_s,
        };
        let rate = rate.map(|rate| rate * self.shard_share() / self.pool.active as f64);
        let steps = steps.unwrap_or(1);
        for step in 1..=steps {
            if self.is_interrupted() {
                break;
            }
            self.ramped = before + (u64::from(more) * u64::from(step) / u64::from(steps)) as u32;
            let (own, workers) = (self.config.own_connections().len() as u32, self.pool.len());
            let until = u64::from(own) * u64::from(self.ramped) / u64::from(self.config.connections);
            let connect = move |worker: usize| {
                let of_worker = share(own, worker + 1, workers) - share(own, worker, workers);
                let until = (u64::from(of_worker) * until).div_ceil(u64::from(own)) as u32;
                PhaseTask::Connect { until, per_s: rate }
            };
            self.run_task(&connect, None)?;
            if step < steps && !self.is_interrupted() {
                let next_s = over_s.unwrap_or(0.0) * f64::from(step) / f64::from(steps);
                let left_s = next_s - self.phase_began.elapsed().as_secs_f64();
                self.run_task(&|_| PhaseTask::Hold { per_s: 0.0 }, Some(left_s.max(0.0)))?;
            }
        }
        Ok(())
    }

    fn rate(&mut self, for_s: f64, per_s: Option<f64>, total_per_s: Option<f64>) -> Result<(), FloodError> {
        let open = States::from(self.pool.counts().stages).held_open() as f64;
        let total = total_per_s.map_or(0.0, |total| total * self.shard_share());
        let per_s = per_s.unwrap_or(total / open.max(1.0));
        if per_s > MAX_PER_S {
            return Err(FloodError::new(format!(
                "rate: {per_s:.0} messages a second on each of {open} connections; expected up to {MAX_PER_S}, on more"
            )));
        }
        let (workers, start) = (self.pool.len() as u64, Instant::now() + SCHEDULE_AFTER);
        let interval_us = ((1e6 / per_s).round() as u64).clamp(1, MAX_INTERVAL_US);
        // In multiples of the rounded interval, so that the number of messages is exact: 3 per second for 10 seconds
        // are 30.
        let for_us = (for_s * per_s * interval_us as f64).round() as u64;
        let task = move |worker: usize| {
            PhaseTask::Rate(ScheduleParams { start, interval_us, for_us, worker: worker as u64, workers })
        };
        self.run_task(&task, None)
    }

    /// Runs a task on every worker: on all at once, or on as many at a time as there are cores. A task without an end
    /// of its own is stopped after `for_s` seconds.
    fn run_task(&mut self, task: &dyn Fn(usize) -> PhaseTask, for_s: Option<f64>) -> Result<(), FloodError> {
        self.serial += 1;
        let (serial, began) = (self.serial, Instant::now());
        let is_close = matches!(task(0), PhaseTask::Close { .. });
        let mut waiting: VecDeque<usize> = (0..self.pool.len()).collect();
        if is_close {
            self.apply_interrupt();
        }
        let mut left = waiting.len();
        let at_once = if task(0).is_together() { left } else { self.pool.active };
        for worker in waiting.drain(..at_once) {
            self.pool.send(worker, Command::Begin(serial, task(worker)));
        }
        let mut stop_at = for_s.map(|for_s| began + Duration::from_secs_f64(for_s));
        let mut next_progress = began;
        while left > 0 {
            let wake = stop_at.map_or(next_progress, |stop_at| stop_at.min(next_progress));
            match self.pool.events.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(WorkerEvent::Phase(done)) if done == serial => {
                    left -= 1;
                    if let Some(worker) = waiting.pop_front() {
                        self.pool.send(worker, Command::Begin(serial, task(worker)));
                    }
                }
                Ok(WorkerEvent::Samples(samples)) => self.add(&samples),
                Ok(WorkerEvent::Failed(error)) => return Err(failed(&error)),
                // Left over from an interrupted phase.
                Ok(WorkerEvent::Phase(_) | WorkerEvent::All(_)) => {}
                Err(RecvTimeoutError::Timeout) => {
                    if stop_at.is_some_and(|stop_at| stop_at <= Instant::now()) {
                        stop_at = None;
                        self.pool.send_all(|| Command::StopPhase);
                    }
                    if next_progress <= Instant::now() {
                        next_progress += PROGRESS_EVERY;
                        self.show_progress();
                        if self.pool.has_lost_one() {
                            return Err(FloodError::new("a worker ended during a phase"));
                        }
                    }
                    self.interrupt.note_first(|| self.pool.counts().in_stage(Stage::Closed));
                    if self.is_interrupted() && !is_close {
                        break;
                    }
                    if is_close && self.apply_interrupt() {
                        // Their connections have been reset; the task ends at once.
                        waiting
                            .drain(..)
                            .for_each(|worker| self.pool.send(worker, Command::Begin(serial, task(worker))));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.show_progress();
        Ok(())
    }

    /// After an interrupt, lets connections close without a pace, and resets them when the time for that is over.
    /// Returns whether they were reset in this call.
    fn apply_interrupt(&mut self) -> bool {
        self.interrupt.note_first(|| self.pool.counts().in_stage(Stage::Closed));
        if !self.is_interrupted() {
            return false;
        }
        if !std::mem::replace(&mut self.interrupt.is_told, true) {
            self.pool.send_all(|| Command::Interrupt);
        }
        let is_now = self.interrupt.is_over() && !std::mem::replace(&mut self.interrupt.is_reset, true);
        if is_now {
            self.pool.send_all(|| Command::Reset);
        }
        is_now
    }

    fn add(&mut self, samples: &Samples) {
        self.timeline.add(&samples.latencies);
        self.samples.latencies.add(&samples.latencies);
        self.samples.schedule.add(&samples.schedule);
        self.samples.missing += samples.missing;
    }

    fn show_progress(&mut self) {
        let counts = self.pool.counts();
        let phase = &self.scenario.phases[self.at];
        (self.observe)(&Progress {
            phase: &self.names[self.at],
            kind: phase.kind(),
            length_s: phase.length_s(),
            elapsed: self.phase_began.elapsed(),
            counts,
        });
        self.timeline.end_row();
        if self.timeline.is_due() {
            self.timeline.begin_row(&self.names[self.at], &counts, self.view.user_bytes());
            self.pool.send_all(|| Command::Sample);
        }
    }

    fn end_phase(&mut self) {
        let Samples { mut latencies, schedule, missing } = std::mem::take(&mut self.samples);
        // A scenario may have thousands of phases, and a histogram that is not packed has 16 KiB or more.
        latencies.pack();
        self.phases.push(PhaseReport {
            name: self.names[self.at].clone(),
            kind: self.scenario.phases[self.at].kind().to_owned(),
            began_s: (self.phase_began - self.began).as_secs_f64(),
            seconds: self.phase_began.elapsed().as_secs_f64(),
            latencies,
            schedule,
            missing,
            states: States::from(self.pool.counts().stages),
        });
    }

    /// Reads CPU time after the last phase that opens connections or sends under load, and memory before the first
    /// check or the drain.
    fn measure_usage(&mut self, next: &Phase) {
        let is_work = |phase: &Phase| {
            matches!(phase, Phase::Ramp { .. } | Phase::Reply { .. } | Phase::Rate { .. } | Phase::Storm { .. })
        };
        if self.cpu.is_none() && !self.scenario.phases[self.at..].iter().any(is_work) {
            let client = Some(own_cpu().since(&self.cpu_before));
            let open = States::from(self.pool.counts().stages).held_open();
            self.cpu = Some(PerSide { server: self.view.cpu_since_begin(open), client });
        }
        if matches!(next, Phase::Check {} | Phase::Drain { .. }) && self.memory.is_none() {
            let open = States::from(self.pool.counts().stages).held_open();
            let now = Memory::read(None);
            let client = SideMemory {
                connections: open,
                user_bytes_per_connection: now.user_bytes_per_connection(&self.memory_before, open),
                kernel_bytes_per_connection: now.kernel_bytes_per_socket(&self.memory_before),
            };
            self.memory = Some(PerSide { server: self.view.memory(open), client });
        }
    }

    fn finish(&mut self) -> Result<Vec<Results>, FloodError> {
        self.pool.send_all(|| Command::Finish);
        let mut results = Vec::new();
        while results.len() < self.pool.len() {
            match self.pool.events.recv() {
                Ok(WorkerEvent::All(one)) => results.push(*one),
                Ok(WorkerEvent::Samples(samples)) => self.add(&samples),
                Ok(WorkerEvent::Failed(error)) => return Err(failed(&error)),
                Ok(WorkerEvent::Phase(_)) => {}
                Err(_) => break,
            }
        }
        self.pool.join();
        Ok(results)
    }

    fn report(mut self, results: &[Results]) -> Report {
        let mut counts = Counts::default();
        let mut lost_by_cause = BTreeMap::new();
        for one in results {
            counts.add(&one.ledger.counts);
            add_causes(&mut lost_by_cause, &one.ledger.lost_by_cause);
        }
        // Samples that arrived after the last phase had ended belong to it.
        if let Some(last) = self.phases.last_mut() {
            last.latencies.add(&self.samples.latencies);
        }
        self.timeline.end_row();
        self.timeline.begin_row(&self.names[self.at], &counts, self.view.user_bytes());
        self.timeline.end_row();
        let planned = self.config.own_connections().len() as u64;
        let connections = Connections::of(planned, &counts);
        // After a second interrupt nothing is waited for, not even `/stats`.
        let reconciliation = if self.interrupt.is_final() { None } else { self.view.reconcile(&counts) };
        let interrupted = self.interrupt.closed_before().map(|before| Interrupted {
            closed: connections.closed.saturating_sub(before),
            reset: results.iter().filter_map(|one| one.ledger.lost_by_cause.get(&RESET)).sum(),
        });
        let agrees = reconciliation.as_ref().is_none_or(|both| both.agrees);
        let urls: Vec<String> = self.config.targets.iter().map(ToString::to_string).collect();
        let mut timings = timings(&self.phases);
        let mut timing = |measure: Measure| timings.remove(&measure).unwrap_or_default();
        let mut schedule = Schedule::default();
        self.phases.iter().for_each(|phase| schedule.add(&phase.schedule));
        Report {
            schema: SCHEMA.to_owned(),
            program: concat!("steadfast ", env!("CARGO_PKG_VERSION")).to_owned(),
            target: urls.join(" "),
            shards: self.config.shard.iter().map(ToString::to_string).collect(),
            started_at_s: self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
            seconds: self.began.elapsed().as_secs_f64(),
            connections,
            states: States::from(counts.stages),
            lost_by_cause,
            connect: timing(Measure::Connect),
            reconnect: timing(Measure::Reconnect),
            reply: timing(Measure::Reply),
            hold: timing(Measure::Hold),
            alive: timing(Measure::Alive),
            response: timing(Measure::Response),
            service: timing(Measure::Service),
            lag: timing(Measure::Lag),
            age: timing(Measure::Age),
            schedule,
            close_seconds: seconds_of(&self.phases, &["drain"]),
            sent: counts.sent,
            replies: counts.replies,
            received: counts.received,
            pings: self.pool.pings(),
            reply_check: if results.iter().all(|one| one.by_content) { "content" } else { "status" }.to_owned(),
            memory: self.memory.unwrap_or_default(),
            cpu: self.cpu.unwrap_or_default(),
            workers: results.len(),
            interrupted,
            warnings: self.view.take_warnings(),
            ok: self.is_whole(&connections) && agrees && !self.is_interrupted(),
            phases: self.phases,
            timeline: self.timeline.rows,
            reconciliation,
            assertions: Vec::new(),
        }
    }

    /// Returns whether every connection completed all steps of the scenario.
    fn is_whole(&self, connections: &Connections) -> bool {
        let Connections { planned, opened, reopened: _, answered, held, closed, lost } = *connections;
        [opened, closed] == [planned; 2]
            && lost == 0
            && (answered == planned || !self.scenario.has("reply"))
            && (held == planned || !self.scenario.has("check"))
            && self.phases.iter().all(|phase| phase.schedule.answered == phase.schedule.due && phase.missing == 0)
    }
}

/// Sums the latencies over all phases, by measure.
fn timings(phases: &[PhaseReport]) -> BTreeMap<Measure, Timing> {
    let mut sum = Latencies::default();
    phases.iter().for_each(|phase| sum.add(&phase.latencies));
    let kinds = |measure: Measure| match measure {
        Measure::Connect => &["ramp"][..],
        Measure::Reconnect => &["storm"],
        Measure::Reply => &["reply"],
        Measure::Hold => &["hold"],
        Measure::Alive => &["check"],
        Measure::Response | Measure::Service | Measure::Lag => &["rate"],
        Measure::Age => &["receive", "slow"],
    };
    MEASURES
        .into_iter()
        .map(|measure| (measure, Timing::of(sum.of(measure), seconds_of(phases, kinds(measure)))))
        .collect()
}

fn seconds_of(phases: &[PhaseReport], kinds: &[&str]) -> f64 {
    let of_kind = phases.iter().filter(|phase| kinds.contains(&phase.kind.as_str()));
    of_kind.fold(0.0, |sum, phase| sum + phase.seconds) // `sum` of an empty iterator is -0
}

fn failed(error: &std::io::Error) -> FloodError {
    FloodError::new(format!("a worker's reactor failed: {error}"))
}

fn own_cpu() -> Cpu {
    let (user, system) = sys::cpu_time();
    Cpu { user_s: user.as_secs_f64(), system_s: system.as_secs_f64() }
}
