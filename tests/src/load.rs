//! Load with exact counts: so many execs, so many opens, as fast as the machine does them.
