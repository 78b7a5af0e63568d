//! Bytes of a program's connection, as an element.

use xml::Element;

pub fn pack(bytes: &[u8]) -> Element {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    Element::new("bytes").with("hex", text)
}

/// `None` if it holds none.
pub fn unpack(element: &Element) -> Option<Vec<u8>> {
    let text = element.attr("hex").filter(|_| element.name() == "bytes")?.as_bytes();
    let digit = |b: u8| char::from(b).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?) as u8);
    text.chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_and_noise_does_not() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unpack(&pack(&all)), Some(all));
        for noise in ["0", "0x", "zz", "é0"] {
            assert_eq!(unpack(&Element::new("bytes").with("hex", noise)), None, "{noise}");
        }
        assert_eq!(unpack(&Element::new("bytes")), None);
        assert_eq!(unpack(&Element::new("x").with("hex", "00")), None);
    }
}
