package validate

import (
	"bytes"
	"errors"
	"io"

	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pe"
	"symkeep/internal/symfile/portablepdb"
)

// maxEmbeddedRead is how much of an embedded PDB is held to read its tables. Of a
// larger one the id and the checksum are compared.
const maxEmbeddedRead = 64 << 20

// checkEmbedded unpacks an embedded portable PDB, reads it, and compares its id with
// the image's records and its bytes with the image's checksum.
func (s *subject) checkEmbedded(f *pe.File, e pe.DebugEntry, facts *peFacts) {
	m, err := f.Embedded(e)
	if err != nil {
		s.damaged("PE-EMBED", err)
		return
	}
	r := m.Reader()
	head, err := io.ReadAll(io.LimitReader(r, maxEmbeddedRead))
	if err != nil {
		s.damaged("PE-EMBED", err)
		return
	}
	pdb, err := portablepdb.Open(bytes.NewReader(head), m.Size)
	if err != nil {
		s.damagedEmbedded(m, err)
		return
	}
	if int64(len(head)) == m.Size {
		if content, err := pdb.Facts(); err != nil {
			s.damagedEmbedded(m, err)
		} else {
			s.givesPortable(content)
		}
	}
	sum := pe.Checksum{Algorithm: "SHA256"}
	if len(facts.checksums) > 0 {
		sum = facts.checksums[0]
	}
	got, err := portablepdb.ChecksumOf(io.MultiReader(bytes.NewReader(head), r), pdb.IDOff, portablepdb.NewHash(sum.Algorithm))
	if err != nil {
		s.damaged("PE-EMBED", err)
		return
	}
	if sum.Digest != nil && !bytes.Equal(got, sum.Digest) {
		s.add("PPDB-CHECKSUM", sum.Off, "its embedded portable PDB has the %s %x, its checksum entry says %x", sum.Algorithm, got, sum.Digest)
	}
	for _, cv := range facts.records {
		if cv.Portable && (cv.GUID != pdb.ID.GUID() || cv.Stamp != pdb.ID.Stamp()) {
			s.add("PE-EMBED", m.Off, "its embedded portable PDB has the id %s-%08x, its CodeView record says %s-%08x",
				pdb.ID.GUID(), pdb.ID.Stamp(), cv.GUID, cv.Stamp)
		}
	}
}

// damagedEmbedded reports an error whose offset counts inside the unpacked PDB.
func (s *subject) damagedEmbedded(m *pe.Embedded, err error) {
	var fe *symfile.FormatError
	if errors.As(err, &fe) {
		s.add("PE-EMBED", m.Off, "%s at %#x of the unpacked PDB: found %s, wanted %s", fe.What, fe.Off, fe.Found, fe.Want)
		return
	}
	s.add("PE-EMBED", m.Off, "the id of the unpacked PDB lies past its first %d bytes", maxEmbeddedRead)
}
