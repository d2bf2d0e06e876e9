//! Topics: who hears of what. Subscribing, leaving and dying cost the same however many there are.

use crate::{ConnId, Error, Net};
use std::collections::HashMap;

/// A connection's entry in a topic: where the topic is, and where in its list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) topic: u32,
    place: u32,
}

/// A topic's entry for a connection: its slot, and where in that connection's list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    pub(crate) conn: u32,
    place: u32,
}

#[derive(Debug, Default)]
struct Topic {
    name: Box<str>,
    subscribers: Vec<Subscriber>,
}

/// All topics of a loop. One without subscribers does not exist.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    names: HashMap<Box<str>, u32>,
    topics: Vec<Topic>,
    free: Vec<u32>,
}

/// Longest name of a topic, in bytes.
const MAX_NAME: usize = 1024;

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::Argument(format!("a topic has a name of 1 to {MAX_NAME} bytes")));
    }
    Ok(())
}

impl Topics {
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    fn find_or_make(&mut self, name: &str) -> Option<u32> {
        if let Some(index) = self.find(name) {
            return Some(index);
        }
        self.names.try_reserve(1).ok()?;
        self.topics.try_reserve(1).ok()?;
        // Whoever leaves can not be refused.
        self.free.try_reserve(self.topics.len() + 1 - self.free.len()).ok()?;
        let mut subscribers = Vec::new();
        subscribers.try_reserve(1).ok()?;
        let topic = Topic { name: name.into(), subscribers };
        let index = match self.free.pop() {
            Some(index) => {
                *self.topics.get_mut(index as usize)? = topic;
                index
            }
            None => {
                self.topics.push(topic);
                u32::try_from(self.topics.len() - 1).ok()?
            }
        };
        self.names.insert(name.into(), index);
        Some(index)
    }

    pub(crate) fn subscribers(&self, topic: u32) -> &[Subscriber] {
        self.topics.get(topic as usize).map_or(&[], |topic| &topic.subscribers)
    }
}

impl Net {
    /// Subscribes a connection to a topic; a second time changes nothing. The end of the connection unsubscribes.
    pub fn subscribe(&mut self, conn: ConnId, topic: &str) -> Result<(), Error> {
        let slot = self.living(conn)?;
        check_name(topic)?;
        self.deal();
        let (conns, topics) = (&mut self.conns, &mut self.topics);
        let conn = conns.get_mut(slot).ok_or(Error::Stale)?;
        let list = conn.topics.get_or_insert_default();
        list.try_reserve(1).map_err(|_| Error::Memory)?;
        let index = topics.find_or_make(topic).ok_or(Error::Memory)?;
        let topic = topics.topics.get_mut(index as usize).ok_or(Error::Memory)?;
        // A topic that is new has room for its first one, so none is left without any.
        topic.subscribers.try_reserve(1).map_err(|_| Error::Memory)?;
        if list.iter().any(|entry| entry.topic == index) {
            return Ok(());
        }
        let place = |len: usize| u32::try_from(len).map_err(|_| Error::Memory);
        let (here, there) = (place(list.len())?, place(topic.subscribers.len())?);
        list.push(Subscription { topic: index, place: there });
        topic.subscribers.push(Subscriber { conn: slot, place: here });
        Ok(())
    }

    /// Ends a subscription; one that is not there is none to end.
    pub fn unsubscribe(&mut self, conn: ConnId, topic: &str) -> Result<(), Error> {
        let slot = self.find(conn)?;
        let Some(index) = self.topics.find(topic) else { return Ok(()) };
        self.deal();
        let list = self.conns.get(slot).and_then(|conn| conn.topics.as_ref());
        if let Some(place) = list.and_then(|list| list.iter().position(|entry| entry.topic == index)) {
            self.leave(slot, place);
        }
        Ok(())
    }

    /// How many connections are subscribed to a topic.
    pub fn subscribers(&self, topic: &str) -> usize {
        self.topics.find(topic).map_or(0, |index| self.topics.subscribers(index).len())
    }

    /// Ends all subscriptions of a connection that is going.
    pub(crate) fn leave_all(&mut self, slot: u32) {
        self.deal();
        while let Some(conn) = self.conns.get_mut(slot)
            && let Some(list) = &conn.topics
            && !list.is_empty()
        {
            let last = list.len() - 1;
            self.leave(slot, last);
        }
    }

    /// Takes one entry out of a connection's list and its twin out of the topic's; whoever moves into a gap is
    /// told its new place.
    fn leave(&mut self, slot: u32, place: usize) {
        let Some(list) = self.conns.get_mut(slot).and_then(|conn| conn.topics.as_mut()) else { return };
        let gone = list.swap_remove(place);
        let moved = list.get(place).copied();
        let (Ok(place), Some(topic)) = (u32::try_from(place), self.topics.topics.get_mut(gone.topic as usize)) else {
            return;
        };
        topic.subscribers.swap_remove(gone.place as usize);
        let moved_subscriber = topic.subscribers.get(gone.place as usize).copied();
        if topic.subscribers.is_empty() {
            let topic = std::mem::take(topic);
            self.topics.names.remove(&topic.name);
            self.topics.free.push(gone.topic);
        }
        if let Some(moved) = moved
            && let Some(topic) = self.topics.topics.get_mut(moved.topic as usize)
            && let Some(entry) = topic.subscribers.get_mut(moved.place as usize)
        {
            entry.place = place;
        }
        if let Some(moved) = moved_subscriber
            && let Some(list) = self.conns.get_mut(moved.conn).and_then(|conn| conn.topics.as_mut())
            && let Some(entry) = list.get_mut(moved.place as usize)
        {
            entry.place = gone.place;
        }
    }
}
