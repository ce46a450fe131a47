//! Giving frames of counts to everybody who wants them.

use std::{collections::HashMap, rc::Rc};

use bytes::Bytes;

use super::Shard;
use crate::{groups::Interest, plays::Plays, subscription::Feed};

impl Shard {
    /// Gives frames to everybody who wants counts of these videos. They go through the same queue as
    /// messages: who does not read is slow.
    pub(crate) fn deliver_plays(&mut self, plays: &Plays) {
        // What connections that want the same get is put together once.
        let mut selected: HashMap<Rc<Interest>, Option<(Bytes, usize)>> = HashMap::new();
        let (mut slow, mut delivered) = (Vec::new(), 0);
        for key in self.audience_of(Feed::Plays) {
            let interest = Rc::clone(&self.clients[key].interest);
            let selection = selected.entry(interest).or_insert_with_key(|interest| {
                plays.select(interest.encoding, &interest.subscription.videos)
            });
            let Some((bytes, frames)) = selection.clone() else { continue };
            if self.offer_beside(key, bytes, frames) {
                delivered += frames;
            } else {
                slow.push((key, frames));
            }
        }
        self.count_delivered(delivered);
        if let Some(at) = self.at.clone() {
            for (key, frames) in slow {
                self.note_slow(key, frames, &at);
            }
        }
    }
}
