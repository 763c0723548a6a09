//! Netlink attributes: written into a buffer with every length checked, and read from one that is not trusted.
//!
//! It knows nothing of what an attribute means. Lengths are 16 bits wide in the kernel's header, so a nest of 64 KiB
//! or more cannot be written: [`Writer::end`] refuses it instead of wrapping around.

/// Bytes of an attribute's header.
pub(super) const HEADER_BYTES: usize = 4;

/// `NLA_F_NESTED`: the payload is attributes.
const NESTED: u16 = 1 << 15;

/// Mask of `NLA_F_NESTED | NLA_F_NET_BYTEORDER`.
const TYPE_MASK: u16 = 0x3fff;

/// `length` rounded up to the alignment of attributes and messages.
pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A nest or an attribute did not fit its 16-bit length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Appends attributes to a buffer.
pub(super) struct Writer<'a>(pub(super) &'a mut Vec<u8>);

/// Where an open nest began.
#[must_use]
pub(super) struct Nest(usize);

impl Writer<'_> {
    /// Appends an attribute.
    ///
    /// # Panics
    /// Where `payload` is longer than an attribute can be. Callers pass keys, names and expressions, all of which
    /// are far shorter.
    pub(super) fn bytes(&mut self, kind: u16, payload: &[u8]) {
        let length = u16::try_from(HEADER_BYTES + payload.len()).expect("payloads are short");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(payload);
        self.0.resize(aligned(self.0.len()), 0);
    }

    /// A string with its NUL. A NUL inside, which no name has, is left out.
    pub(super) fn text(&mut self, kind: u16, text: &str) {
        let mut payload: Vec<u8> = text.bytes().filter(|byte| *byte != 0).collect();
        payload.push(0);
        self.bytes(kind, &payload);
    }

    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Opens a nest.
    pub(super) fn begin(&mut self, kind: u16) -> Nest {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        Nest(start)
    }

    /// Closes the nest.
    ///
    /// # Errors
    /// [`TooLong`] where what is in it does not fit.
    pub(super) fn end(&mut self, nest: Nest) -> Result<(), TooLong> {
        let length = u16::try_from(self.0.len() - nest.0).map_err(|_| TooLong)?;
        self.0[nest.0..nest.0 + 2].copy_from_slice(&length.to_ne_bytes());
        Ok(())
    }
}

/// One attribute as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attribute<'a> {
    /// Its type, without flags.
    pub(super) kind: u16,
    /// What is in it, without padding.
    pub(super) payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// A string up to its NUL; `None` where it is not UTF-8.
    pub(super) fn text(self) -> Option<&'a str> {
        let end = self.payload.iter().position(|byte| *byte == 0).unwrap_or(self.payload.len());
        std::str::from_utf8(&self.payload[..end]).ok()
    }

    pub(super) fn be32(self) -> Option<u32> {
        Some(u32::from_be_bytes(self.payload.try_into().ok()?))
    }

    pub(super) fn be64(self) -> Option<u64> {
        Some(u64::from_be_bytes(self.payload.try_into().ok()?))
    }

    /// The attributes inside.
    pub(super) fn nested(self) -> Attributes<'a> {
        Attributes(self.payload)
    }
}

/// The attributes of a buffer, up to the first that is malformed.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of this type.
    pub(super) fn get(mut self, kind: u16) -> Option<Attribute<'a>> {
        self.find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let (header, _) = self.0.split_first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let payload = self.0.get(HEADER_BYTES..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some(Attribute { kind, payload })
    }
}
