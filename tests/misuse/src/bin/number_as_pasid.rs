//! Fails with E0423: a PASID that is 0, or has more bits than there are.

use iommufd::Pasid;

fn case(number: u32) -> Option<Pasid> {
    #[cfg(feature = "misuse")]
    return Some(Pasid(number));
    #[cfg(not(feature = "misuse"))]
    Pasid::new(number)
}

fn main() {
    let _checked = case;
}
