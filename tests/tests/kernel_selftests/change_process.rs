//! Fixture `change_process`: what is pinned counts for nobody, for the user, or for the process.

use iommufd::{Access, Error, FileRange, Ioas, Iommufd};
use rustix::io::Errno;
use tests::accounted::Accounted;
use tests::at::PAGE;
use tests::fork::{become_nobody, beside, in_child};
use tests::memory::Living;
use tests::mock::MockDevice;
use tests::{file, raw, refused};

per_variant! { Account [account_none, account_user, account_mm]: basic }

/// Whose limit of locked memory counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Account {
    /// Nobody's: the process may lock what it likes.
    None,
    /// The user's, for all processes together.
    User,
    /// The process's.
    Process,
}

impl Account {
    fn account_none() -> Self {
        Self::None
    }

    fn account_user() -> Self {
        Self::User
    }

    fn account_mm() -> Self {
        Self::Process
    }

    /// A context that counts this way from now on. Privileges that the process has lost by this stay lost.
    fn open(self, limit: u64) -> Iommufd {
        let builder = match self {
            Self::None | Self::User => Iommufd::builder(),
            Self::Process => Iommufd::builder().account_per_process(),
        };
        let iommufd = builder.open().unwrap();
        if self != Self::None {
            become_nobody(limit);
        }
        iommufd
    }
}

fn basic(account: Account) {
    in_child(|| moves_to_a_child_and_back(account));
}

/// What is mapped.
const LEN: u64 = 4 * PAGE as u64;

fn moves_to_a_child_and_back(account: Account) {
    // To move what is pinned the kernel counts it for the new process before it no longer counts it for the old one.
    let iommufd = account.open(2 * LEN);
    let ioas = Ioas::new(&iommufd).unwrap();
    let device = MockDevice::new(&iommufd).unwrap();
    let _attachment = device.attach(&ioas).unwrap();
    let nothing = (0, 0);
    let all = match account {
        Account::None | Account::User => (LEN, 0),
        Account::Process => (LEN, LEN),
    };
    // What there is no limit for is not moved: it stays on the account of who pinned it.
    let (moved, left) = match account {
        Account::None => (nothing, all),
        Account::User | Account::Process => (all, nothing),
    };
    let before = Accounted::here();
    let counted = || Accounted::here().since(before);

    // Memory is a process's own, and cannot be another's.
    let living = Living::new();
    let memory = living.memory(LEN as usize);
    let mapping = ioas.map(memory, Access::ReadWrite).unwrap();
    assert_eq!(counted(), all);
    assert_eq!(raw::change_process(&iommufd), Err(Errno::INVAL));
    let in_the_way = iommufd.change_process().unwrap_err();
    assert!(
        matches!(in_the_way, Error::CannotMove { mapping: range, .. } if range == mapping.range()),
        "{in_the_way}"
    );
    assert_eq!(counted(), all);
    mapping.unmap().unwrap();
    assert_eq!(counted(), nothing);
    // Where nothing is mapped there is nothing in the way.
    iommufd.change_process().unwrap();

    let file = file::memfd(LEN as usize);
    let whole = FileRange::new(&file, 0..LEN);
    let mapping = ioas.map_file(whole, Access::ReadWrite).unwrap();
    assert_eq!(counted(), all);
    iommufd.change_process().unwrap();
    assert_eq!(counted(), all, "it was its own already");
    let over_the_limit = || ioas.map(living.memory(LEN as usize + PAGE), Access::Read);
    beside(
        |link| {
            let before = Accounted::here();
            let own = Iommufd::from_fd(raw::witness(&iommufd)).unwrap();
            own.change_process().unwrap();
            assert_eq!(Accounted::here().since(before), moved);
            link.meet();
            // Here the parent looks at its own account, and takes over.
            link.meet();
            assert_eq!(Accounted::here().since(before), nothing);
        },
        |link, _| {
            link.meet();
            assert_eq!(counted(), left);
            match account {
                Account::User => refused(over_the_limit(), Errno::NOMEM),
                Account::None | Account::Process => over_the_limit().unwrap().unmap().unwrap(),
            }
            iommufd.change_process().unwrap();
            assert_eq!(counted(), all);
            link.meet();
        },
    );
    match account {
        Account::None => over_the_limit().unwrap().unmap().unwrap(),
        Account::User | Account::Process => refused(over_the_limit(), Errno::NOMEM),
    }
    if account == Account::User {
        // The user has no room for all of it twice.
        let _second = ioas.map_file(whole, Access::Read).unwrap();
        in_child(|| {
            let before = Accounted::here();
            let own = Iommufd::from_fd(raw::witness(&iommufd)).unwrap();
            refused(own.change_process(), Errno::NOMEM);
            assert_eq!(Accounted::here().since(before), nothing);
        });
        assert_eq!(counted(), (2 * LEN, 0));
    }
    mapping.unmap().unwrap();
    assert_eq!(counted(), nothing);
}
