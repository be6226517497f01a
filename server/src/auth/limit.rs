//! Token buckets, a fixed number of them: nobody can make them use more memory. Who falls into the same one shares its
//! limit.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What one bucket permits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// At once.
    pub(crate) burst: u32,
    /// After that, one in this time.
    pub(crate) every: Duration,
}

/// Buckets of one rate.
pub(crate) struct Limiter {
    rate: Rate,
    /// When each is full again: what is missing until then was taken.
    full_at: Mutex<Vec<Instant>>,
    hasher: RandomState,
}

impl Limiter {
    /// `buckets` full ones; at least one.
    pub(crate) fn new(buckets: usize, rate: Rate) -> Self {
        Self {
            rate,
            full_at: Mutex::new(vec![Instant::now(); buckets.max(1)]),
            hasher: RandomState::new(),
        }
    }

    /// Takes one from the bucket of `key`, which nobody can choose to share.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(crate) fn take(&self, key: impl Hash) -> Result<(), Duration> {
        self.take_at(self.hasher.hash_one(key), Instant::now())
    }

    /// Takes one from the bucket of this number, so that consecutive numbers do not share one.
    ///
    /// # Errors
    /// How long it takes until there is one.
    pub(crate) fn take_numbered(&self, number: u64) -> Result<(), Duration> {
        self.take_at(number, Instant::now())
    }

    /// Whether the bucket of this number has something; who takes more than there is has that to wait for.
    ///
    /// # Errors
    /// How long it takes until it has.
    pub(crate) fn has_numbered(&self, number: u64) -> Result<(), Duration> {
        let now = Instant::now();
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = (number % full_at.len() as u64) as usize;
        let empty = now + self.rate.every * self.rate.burst;
        match full_at[bucket].saturating_duration_since(empty) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Takes so many from the bucket of this number, also beyond what it has.
    pub(crate) fn charge_numbered(&self, number: u64, amount: u32) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = (number % full_at.len() as u64) as usize;
        full_at[bucket] = full_at[bucket].max(Instant::now()) + self.rate.every * amount;
    }

    /// Gives one back.
    pub(crate) fn give_back(&self, key: impl Hash) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = (self.hasher.hash_one(key) % full_at.len() as u64) as usize;
        let earlier = full_at[bucket].checked_sub(self.rate.every);
        full_at[bucket] = earlier.unwrap_or(full_at[bucket]);
    }

    fn take_at(&self, number: u64, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = (number % full_at.len() as u64) as usize;
        let taken = full_at[bucket].max(now) + self.rate.every;
        let most = now + self.rate.every * self.rate.burst;
        if taken > most {
            return Err(taken - most);
        }
        full_at[bucket] = taken;
        Ok(())
    }
}

/// By what a client's address is limited: who has an IPv6 address has its /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => match six.to_ipv4_mapped() {
            Some(four) => four.into(),
            None => std::net::Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX)).into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_by_time() {
        let limiter = Limiter::new(
            4,
            Rate {
                burst: 2,
                every: Duration::from_secs(10),
            },
        );
        let start = Instant::now() + Duration::from_secs(1);
        let take = |number, after| limiter.take_at(number, start + Duration::from_secs(after));
        assert!(take(1, 0).is_ok() && take(1, 0).is_ok());
        assert_eq!(take(1, 4), Err(Duration::from_secs(6)));
        assert!(take(2, 4).is_ok());
        assert!(take(1, 10).is_ok());
        assert!(take(1, 10).is_err());
    }

    #[test]
    fn who_takes_more_than_there_is_has_to_wait_for_it() {
        let rate = Rate {
            burst: 10,
            every: Duration::from_secs(10),
        };
        let limiter = Limiter::new(4, rate);
        limiter.charge_numbered(1, 9);
        assert_eq!(limiter.has_numbered(1), Ok(()));
        limiter.charge_numbered(1, 31);
        let wait = limiter.has_numbered(1).unwrap_err();
        assert!((295..=300).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(limiter.has_numbered(2), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken() {
        let limiter = Limiter::new(
            1,
            Rate {
                burst: 1,
                every: Duration::from_secs(10),
            },
        );
        assert!(limiter.take("a").is_ok() && limiter.take("a").is_err());
        limiter.give_back("a");
        assert!(limiter.take("a").is_ok());
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("2001:db8::1:2:3:4"), "2001:db8::");
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
    }
}
