//! Two speak, and all hear all of it in order; some of them read only when the others have heard everything.

use crate::host::{Report, Serve};
use crate::peer::{Failed, Outcome, Peer, TEXT, ensure, frame};
use crate::plan::Plan;
use crate::scenarios::{PEERS, connected, each, judge, while_sending};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

const SPEAKERS: usize = 2;
const SLOW: u64 = 2;
const MESSAGES: usize = 60;
const END: &str = "end";

/// What became of a speaker: it speaks, has heard itself to the end, or was lost on the way.
const SPEAKS: u8 = 0;
const DONE: u8 = 1;
const LOST: u8 = 2;

struct Room<'a> {
    plan: &'a Plan,
    serve: &'a Serve,
    speakers: [AtomicU8; SPEAKERS],
    open: Barrier,
    heard: Barrier,
}

impl Room<'_> {
    fn text(&self, speaker: usize, at: usize) -> String {
        let mut dice = self.plan.dice((speaker * 1000 + at) as u64);
        format!("{speaker} {at} {}", "x".repeat(dice.length(8_000)))
    }

    fn became(&self, speaker: usize) -> u8 {
        self.speakers[speaker].load(Ordering::Acquire)
    }

    /// Hears all that is said, in order. Of a speaker that is lost only the first messages come, and then the end.
    fn listen(&self, which: usize, peer: &mut Peer) -> Outcome {
        let (mut next, mut is_end) = ([0; SPEAKERS], false);
        while (0..SPEAKERS).any(|one| next[one] < MESSAGES && !(is_end && self.became(one) == LOST)) {
            let (first, payload) = peer.frame()?;
            let said = String::from_utf8_lossy(&payload);
            if said == END && self.plan.is_fatal {
                is_end = true;
                continue;
            }
            let speaker = said.split(' ').next().and_then(|word| word.parse::<usize>().ok());
            let Some(speaker) = speaker.filter(|&speaker| first == TEXT && speaker < SPEAKERS) else {
                return Err(Failed::Wrong(format!("{first:#x} {said:?}")));
            };
            let right = self.text(speaker, next[speaker]);
            ensure(said == right, || format!("{said:.20} of {speaker} for message {}", next[speaker]))?;
            next[speaker] += 1;
            if speaker == which && next[speaker] == MESSAGES {
                self.speakers[which].store(DONE, Ordering::Release);
            }
        }
        Ok(())
    }

    fn take_part(&self, which: u64, mut peer: Peer) -> Outcome {
        let is_slow = which >= PEERS - SLOW;
        if is_slow {
            peer.shrink();
        }
        let upgraded = peer.upgrade("/broadcast");
        self.open.wait();
        if is_slow {
            self.heard.wait();
        }
        let which = which as usize;
        let outcome = upgraded.and_then(|()| {
            let count = if which < SPEAKERS { MESSAGES } else { 0 };
            let pieces: Vec<Vec<u8>> = (0..count).map(|at| frame(TEXT, self.text(which, at).as_bytes())).collect();
            while_sending(peer.writer(), &pieces, || self.listen(which, &mut peer))
        });
        if outcome.is_err() && which < SPEAKERS {
            self.speakers[which].store(LOST, Ordering::Release);
        }
        if !is_slow {
            self.heard.wait();
        }
        // More may come: the end, or what a speaker said that is lost now.
        if self.plan.is_fatal { outcome } else { outcome.and_then(|()| peer.close()) }
    }

    /// Says the end, when nothing else will be said, until it is heard.
    fn say_end(&self) -> Outcome {
        while (0..SPEAKERS).any(|speaker| self.became(speaker) == SPEAKS) {
            thread::sleep(Duration::from_millis(2));
        }
        while self.plan.is_fatal && (0..SPEAKERS).any(|speaker| self.became(speaker) == LOST) {
            let said = connected(self.serve, |mut peer| {
                peer.upgrade("/broadcast")?;
                peer.send(&frame(TEXT, END.as_bytes()))?;
                while peer.frame()?.1 != END.as_bytes() {}
                Ok(())
            });
            match said.1 {
                Err(Failed::Ended(_)) => {}
                said => return said,
            }
        }
        Ok(())
    }
}

pub(crate) fn broadcast(plan: &Plan) -> Outcome<Report> {
    let queue = ["--max-queued-bytes", "100000000", "--max-queued-messages", "100000"];
    let serve = Serve::start(plan, &[&queue[..], &["--socket-send-buffer-bytes", "4096"]].concat())?;
    let room = Room {
        plan,
        serve: &serve,
        speakers: [const { AtomicU8::new(SPEAKS) }; SPEAKERS],
        open: Barrier::new(PEERS as usize),
        heard: Barrier::new(PEERS as usize),
    };
    let ended = each(PEERS + 1, |which| match which {
        PEERS => (0, room.say_end()),
        which => connected(&serve, |peer| room.take_part(which, peer)),
    });
    judge(&serve, ended)?;
    serve.finish()
}
