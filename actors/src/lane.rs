//! A bounded lane between two actors: data travels here, never through a mailbox.
//!
//! Lanes belong to the root, so what waits in one outlives both its ends. A full lane refuses and
//! hands back what was offered: a reader then waits (and its ring fills), a sink's offerer counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// A queue bounded by the number and by the weight of what waits in it.
#[derive(Debug)]
pub(crate) struct Lane<T> {
    sender: flume::Sender<T>,
    receiver: flume::Receiver<T>,
    weigh: fn(&T) -> usize,
    max_weight: usize,
    weight: AtomicUsize,
    arrival: Arc<Notify>,
    room: Notify,
}

impl<T> Lane<T> {
    /// A lane for `slots` items of `max_weight` together. `arrival` is notified of each item; one
    /// notify may serve several lanes.
    pub(crate) fn new(
        slots: usize,
        max_weight: usize,
        weigh: fn(&T) -> usize,
        arrival: Arc<Notify>,
    ) -> Self {
        let (sender, receiver) = flume::bounded(slots);
        Self {
            sender,
            receiver,
            weigh,
            max_weight,
            weight: AtomicUsize::new(0),
            arrival,
            room: Notify::new(),
        }
    }

    /// Puts `item` at the end.
    ///
    /// # Errors
    /// Gives `item` back when the lane is full.
    pub(crate) fn offer(&self, item: T) -> Result<(), T> {
        self.offer_up_to(self.max_weight, item)
    }

    /// Puts `item` at the end of a lane that weighs no more than `max_weight` with it: less than all there is room for
    /// leaves room for what must not be lost, and more is for what is little.
    ///
    /// # Errors
    /// Gives `item` back when there is more, or no slot.
    pub(crate) fn offer_up_to(&self, max_weight: usize, item: T) -> Result<(), T> {
        let weight = (self.weigh)(&item);
        let before = self.weight.fetch_add(weight, Ordering::Relaxed);
        // An item heavier than the lane passes when nothing else is in it.
        let fits = before == 0 || before.saturating_add(weight) <= max_weight;
        let refused = if fits {
            self.sender
                .try_send(item)
                .err()
                .map(flume::TrySendError::into_inner)
        } else {
            Some(item)
        };
        if let Some(item) = refused {
            self.weight.fetch_sub(weight, Ordering::Relaxed);
            return Err(item);
        }
        self.arrival.notify_one();
        Ok(())
    }

    /// Takes the first item, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        let item = self.receiver.try_recv().ok()?;
        self.weight
            .fetch_sub((self.weigh)(&item), Ordering::Relaxed);
        self.room.notify_one();
        Some(item)
    }

    /// Waits until something was put in, at most `limit`. May return early.
    pub(crate) async fn arrived(&self, limit: Duration) {
        if self.receiver.is_empty() {
            let _ = tokio::time::timeout(limit, self.arrival.notified()).await;
        }
    }

    /// Waits until something was taken out, at most `limit`. May return early.
    pub(crate) async fn room(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.room.notified()).await;
    }

    /// Items waiting.
    pub(crate) fn depth(&self) -> usize {
        self.receiver.len()
    }

    /// Items there is room for.
    pub(crate) fn capacity(&self) -> usize {
        // The lane was made bounded.
        self.receiver.capacity().unwrap_or(0)
    }

    /// Weight of what waits.
    pub(crate) fn weight(&self) -> usize {
        self.weight.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(slots: usize, max_weight: usize) -> Lane<Vec<u8>> {
        Lane::new(slots, max_weight, Vec::len, Arc::default())
    }

    #[test]
    fn what_must_not_be_lost_is_taken_beyond_the_weight_and_not_beyond_the_slots() {
        let lane = lane(3, 10);
        assert_eq!(lane.offer_up_to(8, vec![0; 8]), Ok(()));
        assert_eq!(lane.offer_up_to(8, vec![1]), Err(vec![1]));
        assert_eq!(lane.offer(vec![1]), Ok(()));
        assert_eq!(lane.offer(vec![2; 4]), Err(vec![2; 4]));
        assert_eq!(lane.offer_up_to(usize::MAX, vec![2; 4]), Ok(()));
        assert_eq!(lane.weight(), 13);
        assert_eq!(lane.offer_up_to(usize::MAX, vec![4]), Err(vec![4]));
    }

    #[test]
    fn it_is_bounded_by_number_and_by_weight_and_gives_back() {
        let lane = lane(2, 10);
        assert!(lane.offer(vec![0; 6]).is_ok());
        assert_eq!(lane.offer(vec![1; 5]).unwrap_err(), [1; 5]);
        assert!(lane.offer(vec![2; 4]).is_ok());
        assert!(lane.offer(vec![]).is_err());
        assert_eq!((lane.depth(), lane.weight()), (2, 10));
        assert_eq!(lane.take().unwrap(), [0; 6]);
        assert_eq!(lane.take().unwrap(), [2; 4]);
        assert!(lane.take().is_none());
        assert_eq!(lane.weight(), 0);
        assert!(lane.offer(vec![0; 99]).is_ok(), "a heavy item passes alone");
    }

    #[tokio::test]
    async fn an_arrival_wakes_and_a_wait_ends() {
        let lane = Arc::new(lane(1, 10));
        lane.arrived(Duration::from_millis(1)).await;
        let waiting = tokio::spawn({
            let lane = lane.clone();
            async move {
                while lane.depth() == 0 {
                    lane.arrived(Duration::from_secs(60)).await;
                }
            }
        });
        tokio::task::yield_now().await;
        lane.offer(vec![1]).unwrap();
        waiting.await.unwrap();
    }
}
