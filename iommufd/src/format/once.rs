//! What a VMM does for a device whose guest has tables of its own, written once for all formats: it
//! binds the guest's stage 1, passes on what the guest invalidates, follows when the guest goes by
//! other tables, and takes it all down.
//!
//! [`Place`] is where a format nests, of which there are two, each for all formats that nest there.
//! What is left to a vendor is [`Guest`]: how its configuration is written down, and how it can be
//! seen where a device is. Each of these is in a file of its own, with the test that runs this.

use std::fmt;

use iommufd::format::{Format, NestsOnParent, ViommuKind};
use iommufd::{Attachment, Device, NestParent, NestedHwPt, Result, Target, VDevice, Viommu};

/// Where a guest's tables are nested: what a VMM has of the guest's IOMMU.
pub trait Place: fmt::Debug {
    /// The format of the guest's tables.
    type Format: Format;

    /// The guest's tables, for the hardware.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn table(
        &self,
        device: &Device,
        config: &<Self::Format as Format>::Config,
    ) -> Result<NestedHwPt<Self::Format>>;

    /// What a device is attached to so that these tables translate for it.
    fn target(&self, table: &NestedHwPt<Self::Format>) -> Target;

    /// Passes on what the guest invalidates of these tables.
    ///
    /// # Errors
    /// The kernel's refusal.
    fn invalidate(
        &self,
        table: &NestedHwPt<Self::Format>,
        commands: &[<Self::Format as Format>::Invalidation],
    ) -> Result<()>;
}

/// In the parent itself: tables are attached to as they are, and each is invalidated by itself.
#[derive(Debug)]
pub struct OnParent<F> {
    parent: NestParent,
    format: std::marker::PhantomData<F>,
}

impl<F: NestsOnParent> OnParent<F> {
    /// In this parent.
    #[must_use]
    pub fn new(parent: &NestParent) -> Self {
        Self {
            parent: parent.clone(),
            format: std::marker::PhantomData,
        }
    }
}

impl<F: NestsOnParent> Place for OnParent<F> {
    type Format = F;

    fn table(&self, device: &Device, config: &F::Config) -> Result<NestedHwPt<F>> {
        NestedHwPt::new(&self.parent, device, config)
    }

    fn target(&self, table: &NestedHwPt<F>) -> Target {
        table.into()
    }

    fn invalidate(&self, table: &NestedHwPt<F>, commands: &[F::Invalidation]) -> Result<()> {
        table.invalidate(commands)
    }
}

/// In a virtual IOMMU: a device is attached under the guest's number, and all tables are invalidated
/// through the virtual IOMMU.
#[derive(Debug)]
pub struct OnViommu<V: ViommuKind> {
    viommu: Viommu<V>,
    vdevice: VDevice<V>,
    /// What becomes of translations that outlive their tables.
    stale: fn() -> V::Stale,
}

impl<V: ViommuKind> OnViommu<V> {
    /// In this one, for the device that it knows by this number.
    #[must_use]
    pub fn new(viommu: &Viommu<V>, vdevice: &VDevice<V>, stale: fn() -> V::Stale) -> Self {
        Self {
            viommu: viommu.clone(),
            vdevice: vdevice.clone(),
            stale,
        }
    }
}

impl<V: ViommuKind> Place for OnViommu<V> {
    type Format = V::Format;

    fn table(
        &self,
        device: &Device,
        config: &<V::Format as Format>::Config,
    ) -> Result<NestedHwPt<V::Format>> {
        NestedHwPt::new(&self.viommu, device, config)
    }

    fn target(&self, table: &NestedHwPt<V::Format>) -> Target {
        self.vdevice.through(table, (self.stale)())
    }

    fn invalidate(
        &self,
        _: &NestedHwPt<V::Format>,
        commands: &[<V::Format as Format>::Invalidation],
    ) -> Result<()> {
        self.viommu.invalidate(commands)
    }
}

/// One of the guest's two sets of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// Those that it begins with.
    First,
    /// Those that it goes by later.
    Second,
}

/// What a device finds at an address that both sets of tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finds {
    /// Nothing: no tables translate for it.
    Nothing,
    /// What these tables lead to.
    Tables(Tables),
    /// What these tables lead to since the guest has changed them, and said so.
    Changed(Tables),
}

/// A guest with a device, as far as vendors differ.
pub trait Guest {
    /// Where its tables are nested.
    type Place: Place;

    /// What the guest writes down for its IOMMU to go by these tables.
    fn config(&self, tables: Tables) -> ConfigOf<Self>;

    /// The guest changes an entry of these tables. Gives what it then says to its IOMMU.
    fn change(&self, tables: Tables) -> Vec<InvalidationOf<Self>>;

    /// Fails the test if its device finds anything else. `table` is what it is bound to.
    fn assert_finds(&self, finds: Finds, table: Option<&NestedHwPt<FormatOf<Self>>>);
}

type FormatOf<G> = <<G as Guest>::Place as Place>::Format;
type ConfigOf<G> = <FormatOf<G> as Format>::Config;
type InvalidationOf<G> = <FormatOf<G> as Format>::Invalidation;

/// A device that is a guest's, as a VMM has it.
#[derive(Debug)]
pub struct Bound<P: Place> {
    place: P,
    device: Device,
    /// What attaches it, and to what.
    bound: Option<(Attachment, NestedHwPt<P::Format>)>,
}

impl<P: Place> Bound<P> {
    /// A device that is not attached.
    #[must_use]
    pub fn new(place: P, device: &Device) -> Self {
        Self {
            place,
            device: device.clone(),
            bound: None,
        }
    }

    /// The guest goes by this from now on. After an error it goes by what it went by before.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn bind(&mut self, config: &<P::Format as Format>::Config) -> Result<()> {
        let table = self.place.table(&self.device, config)?;
        let target = self.place.target(&table);
        let Some((attachment, before)) = &mut self.bound else {
            let attachment = self.device.attach(target)?;
            self.bound = Some((attachment, table));
            return Ok(());
        };
        attachment.replace(target)?;
        let before = std::mem::replace(before, table);
        Ok(before.try_destroy()?)
    }

    /// The guest has said this.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn invalidate(&self, commands: &[<P::Format as Format>::Invalidation]) -> Result<()> {
        match &self.bound {
            Some((_, table)) => self.place.invalidate(table, commands),
            // Nothing is cached of no tables.
            None => Ok(()),
        }
    }

    /// The guest goes by no tables any more.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn unbind(&mut self) -> Result<()> {
        if let Some((attachment, table)) = self.bound.take() {
            attachment.detach()?;
            table.try_destroy()?;
        }
        Ok(())
    }

    /// The tables by which the guest goes.
    #[must_use]
    pub fn table(&self) -> Option<&NestedHwPt<P::Format>> {
        self.bound.as_ref().map(|(_, table)| table)
    }
}

/// The program: it is run for every format.
///
/// # Errors
/// The kernel's refusal.
pub fn run<G: Guest>(guest: &G, place: G::Place, device: &Device) -> Result<()> {
    let mut bound = Bound::new(place, device);
    let finds = |bound: &Bound<G::Place>, what| guest.assert_finds(what, bound.table());
    finds(&bound, Finds::Nothing);

    // Bind.
    bound.bind(&guest.config(Tables::First))?;
    finds(&bound, Finds::Tables(Tables::First));

    // The guest's tables are the guest's to change: it says what is to be forgotten.
    bound.invalidate(&guest.change(Tables::First))?;
    finds(&bound, Finds::Changed(Tables::First));

    // Other tables; then these are the ones that invalidations are about.
    bound.bind(&guest.config(Tables::Second))?;
    finds(&bound, Finds::Tables(Tables::Second));
    bound.invalidate(&guest.change(Tables::Second))?;
    finds(&bound, Finds::Changed(Tables::Second));

    // Tear down. What the guest says now is about nothing.
    bound.unbind()?;
    finds(&bound, Finds::Nothing);
    bound.invalidate(&guest.change(Tables::Second))?;
    finds(&bound, Finds::Nothing);

    // And again, from the beginning.
    bound.bind(&guest.config(Tables::Second))?;
    finds(&bound, Finds::Tables(Tables::Second));
    bound.unbind()
}
