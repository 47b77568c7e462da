//! Unit tests: a guest on a machine that is played, whose device goes nowhere: what is seen is what
//! the kernel is asked.

use std::cell::RefCell;

use crate::NestedHwPt;
use crate::format::Format;
use crate::format::once::{Finds, Guest, Place, Tables, run};
use crate::funnel::script::machine::{Machine, words};

/// A guest, by what its vendor's structures are.
pub(crate) struct Played<'m, P: Place> {
    machine: &'m Machine,
    config: fn(Tables) -> ConfigOf<P>,
    change: fn(Tables) -> Vec<InvalidationOf<P>>,
    seen: RefCell<Vec<Step>>,
}

type ConfigOf<P> = <<P as Place>::Format as Format>::Config;
type InvalidationOf<P> = <<P as Place>::Format as Format>::Invalidation;

/// What there was until something was to be found: what was asked, by name, with the argument's words
/// and those of its data; and where the device went.
pub(crate) type Step = (Finds, Vec<Asked>, Vec<Option<u32>>);
pub(crate) type Asked = (&'static str, Vec<u32>, Vec<u64>);

impl<P: Place> Guest for Played<'_, P> {
    type Place = P;

    fn config(&self, tables: Tables) -> ConfigOf<P> {
        (self.config)(tables)
    }

    fn change(&self, tables: Tables) -> Vec<InvalidationOf<P>> {
        (self.change)(tables)
    }

    fn assert_finds(&self, finds: Finds, table: Option<&NestedHwPt<P::Format>>) {
        assert_eq!(table.is_none(), finds == Finds::Nothing);
        let asked = self.machine.log.take().into_iter();
        let asked = asked.map(|(name, head, data)| (name, head, words(&data)));
        let went = self.machine.driver.tables();
        self.machine.driver.moves.lock().clear();
        self.seen.borrow_mut().push((finds, asked.collect(), went));
    }
}

/// Runs the program, and gives what was seen at each of its steps.
pub(crate) fn steps<P: Place>(
    machine: &Machine,
    place: P,
    config: fn(Tables) -> ConfigOf<P>,
    change: fn(Tables) -> Vec<InvalidationOf<P>>,
) -> Vec<Step> {
    let seen = RefCell::default();
    let guest = Played {
        machine,
        config,
        change,
        seen,
    };
    run(&guest, place, &machine.device).unwrap();
    guest.assert_finds(Finds::Nothing, None);
    guest.seen.into_inner()
}
