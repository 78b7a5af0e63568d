//! Frames that are larger than a datagram to a peer may be: cut into pieces of equal size, and put together again.
//!
//! A frame is cut for the size that its link carries at the moment, and for a smaller one when it has to be sent again. What is lost
//! of it is not asked for piece by piece: the ring asks for the whole frame. Pieces of a few frames wait for the rest of them; the
//! oldest give way.

use crate::codec::{PIECE_OVERHEAD, Piece, piece_head};
use crate::config::SMALLEST_DATAGRAM;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

/// Of one frame: one bit each.
const MAX_PIECES: usize = 64;
/// Frames of one peer of which pieces are missing.
const MAX_OPEN: usize = 32;
/// The largest frame that is put together; a commit token of a full ring, and any ordered frame, is smaller.
const MAX_WHOLE: usize = 32 * 1024;

/// Which bytes of a frame a piece is; none where no frame is cut like that.
pub(crate) fn range(length: usize, index: u8, count: u8) -> Option<Range<usize>> {
    let (index, count) = (usize::from(index), usize::from(count));
    if !(2..=MAX_PIECES).contains(&count) || index >= count || length > MAX_WHOLE {
        return None;
    }
    let each = length.div_ceil(count);
    let start = index * each;
    // None of them is empty.
    ((count - 1) * each < length).then(|| start..(start + each).min(length))
}

/// The datagrams of at most `size` bytes that carry the frame.
pub(crate) fn cut(frame: &Bytes, incarnation: u32, number: u32, size: usize) -> Vec<Bytes> {
    let room = size.max(SMALLEST_DATAGRAM) - PIECE_OVERHEAD;
    let count = frame.len().div_ceil(room);
    let (Ok(length), Ok(of)) = (u16::try_from(frame.len()), u8::try_from(count)) else { return Vec::new() };
    if frame.len() <= size || count < 2 {
        return vec![frame.clone()];
    }
    let each = frame.len().div_ceil(count) + PIECE_OVERHEAD;
    let mut all = Vec::with_capacity(frame.len() + count * PIECE_OVERHEAD);
    for index in 0..of {
        let Some(range) = range(frame.len(), index, of) else { break };
        piece_head(&mut all, &Piece { incarnation, number, length, index, count: of, bytes: Bytes::new() });
        all.extend_from_slice(frame.get(range).unwrap_or_default());
    }
    let all = Bytes::from(all);
    (0..all.len()).step_by(each).map(|from| all.slice(from..(from + each).min(all.len()))).collect()
}

struct Open {
    incarnation: u32,
    number: u32,
    count: u8,
    /// A bit for each piece that has come.
    got: u64,
    bytes: Vec<u8>,
}

/// Of one peer.
#[derive(Default)]
pub(crate) struct Pieces(VecDeque<Open>);

impl Pieces {
    /// The whole frame, if this was the last piece of it.
    pub fn push(&mut self, piece: &Piece) -> Option<Bytes> {
        let range = range(usize::from(piece.length), piece.index, piece.count)?;
        let same = |o: &Open| {
            (o.incarnation, o.number, o.count, o.bytes.len())
                == (piece.incarnation, piece.number, piece.count, usize::from(piece.length))
        };
        let at = match self.0.iter().rposition(same) {
            Some(at) => at,
            None => {
                if self.0.len() >= MAX_OPEN {
                    self.0.pop_front();
                }
                let Piece { incarnation, number, count, .. } = *piece;
                self.0.push_back(Open { incarnation, number, count, got: 0, bytes: vec![0; piece.length.into()] });
                self.0.len() - 1
            }
        };
        let open = self.0.get_mut(at)?;
        let place = open.bytes.get_mut(range).filter(|p| p.len() == piece.bytes.len())?;
        place.copy_from_slice(&piece.bytes);
        open.got |= 1 << piece.index;
        let whole = open.got.count_ones() == u32::from(open.count);
        if whole { self.0.remove(at).map(|o| o.bytes.into()) } else { None }
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// A frame on its way to several peers, cut once for each size.
pub(crate) struct Parcel {
    pub frame: Bytes,
    cuts: Vec<(usize, Vec<Bytes>)>,
}

impl Parcel {
    pub fn new(frame: Bytes) -> Parcel {
        Parcel { frame, cuts: Vec::new() }
    }

    /// In datagrams of at most `size`; `number` counts what is cut.
    pub fn datagrams(&mut self, size: usize, incarnation: u32, number: &mut u32) -> Vec<Bytes> {
        if self.frame.len() <= size {
            return vec![self.frame.clone()];
        }
        if let Some((_, cut)) = self.cuts.iter().find(|(s, _)| *s == size) {
            return cut.clone();
        }
        *number = number.wrapping_add(1);
        let pieces = cut(&self.frame, incarnation, *number, size);
        self.cuts.push((size, pieces.clone()));
        pieces
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codec::Frame;
    use crate::config::{LARGEST_DATAGRAM, MAX_FRAME, USUAL_DATAGRAM};

    fn frame(length: usize) -> Bytes {
        (0..length).map(|n| ((n * 7) >> 3) as u8).collect::<Vec<u8>>().into()
    }

    fn piece(datagram: &Bytes) -> Piece {
        match Frame::decode_shared(datagram).unwrap() {
            Frame::Piece(piece) => piece,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_length_comes_back_from_every_size_in_every_order() {
        let (mut parcel, mut pieces, mut number) = (Parcel::new(Bytes::new()), Pieces::default(), 0);
        for length in (1..MAX_FRAME).step_by(97).chain([MAX_FRAME - 1, MAX_FRAME]) {
            parcel.frame = frame(length);
            parcel.cuts.clear();
            for size in [SMALLEST_DATAGRAM, USUAL_DATAGRAM, 1428, 8928, LARGEST_DATAGRAM] {
                let cut = parcel.datagrams(size, 5, &mut number);
                assert!(cut.iter().all(|d| d.len() <= size), "{length} in {size}");
                if let [whole] = cut.as_slice() {
                    assert_eq!(*whole, parcel.frame);
                    continue;
                }
                assert!(cut.len() <= length.div_ceil(size - PIECE_OVERHEAD), "no more than needed");
                let order: Vec<&Bytes> =
                    if length % 2 == 0 { cut.iter().collect() } else { cut.iter().rev().collect() };
                let got: Vec<Bytes> = order.iter().filter_map(|d| pieces.push(&piece(d))).collect();
                assert_eq!(got, [parcel.frame.clone()], "{length} in {size}");
            }
        }
        assert!(pieces.0.is_empty());
    }

    #[test]
    fn frames_of_two_lives_are_never_mixed_and_what_stays_open_is_bounded() {
        let (old, new) = (Bytes::from(vec![1; 3000]), Bytes::from(vec![2; 3000]));
        let mut pieces = Pieces::default();
        let (of_old, of_new) = (cut(&old, 1, 9, 1188), cut(&new, 2, 9, 1188));
        of_old.iter().skip(1).for_each(|d| assert!(pieces.push(&piece(d)).is_none()));
        assert_eq!(of_new.iter().filter_map(|d| pieces.push(&piece(d))).collect::<Vec<_>>(), [new]);
        for number in 100..300 {
            pieces.push(&piece(&cut(&old, 1, number, 1188)[0]));
            assert!(pieces.0.len() <= MAX_OPEN);
        }
        assert!(pieces.push(&piece(&of_old[0])).is_none(), "the oldest have given way");
    }

    #[test]
    fn what_no_frame_is_cut_into_is_refused() {
        for (length, index, count) in [(100, 0, 0), (100, 0, 1), (100, 5, 5), (100, 0, 65), (40_000, 0, 40), (3, 2, 4)]
        {
            assert_eq!(range(length, index, count), None, "{length} {index} {count}");
        }
        let cut = cut(&frame(3000), 1, 1, 1188);
        for change in [&cut[0][..cut[0].len() - 1], &[&cut[0][..], b"x"].concat()] {
            assert!(Frame::decode(change).is_err());
        }
    }
}
