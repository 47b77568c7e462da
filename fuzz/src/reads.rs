//! An input as what several reads of a file bring.

/// Cuts `input` into pieces: each begins with its length, of one byte, in units of `unit` bytes. What is left is one
/// more piece.
#[must_use]
pub fn pieces(input: &[u8], unit: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    while let Some((units, after)) = rest.split_first() {
        let (piece, more) = after
            .split_at_checked(usize::from(*units) * unit)
            .unwrap_or((after, &[]));
        pieces.push(piece);
        rest = more;
    }
    pieces
}
