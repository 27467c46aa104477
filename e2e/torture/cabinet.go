package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
)

// uncab unpacks a cabinet of one folder and one MSZIP file, by [MS-CAB] and
// [MS-MCI] alone: the harness trusts no code of the product to judge its answers.
func uncab(b []byte) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cabinet of %d bytes is cut: %v", len(b), r)
		}
	}()
	if len(b) < 36 || string(b[:4]) != "MSCF" {
		return nil, fmt.Errorf("no cabinet: begins with %q", b[:min(4, len(b))])
	}
	le := binary.LittleEndian
	folder, reserve := 36, 0
	if le.Uint16(b[30:])&4 != 0 { // reserved areas: header, per folder, per block
		folder, reserve = 40+int(le.Uint16(b[36:])), int(b[39])
	}
	at, blocks := int(le.Uint32(b[folder:])), int(le.Uint16(b[folder+4:]))
	size := int(le.Uint32(b[le.Uint32(b[16:]):]))
	for i := range blocks {
		packed, want := int(le.Uint16(b[at+4:])), int(le.Uint16(b[at+6:]))
		data := b[at+8+reserve : at+8+reserve+packed]
		at += 8 + reserve + packed
		if string(data[:2]) != "CK" {
			return nil, fmt.Errorf("block %d begins with %q, wanted CK", i, data[:2])
		}
		history := raw[max(0, len(raw)-32<<10):]
		plain, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(data[2:]), history))
		if err != nil || len(plain) != want {
			return nil, fmt.Errorf("block %d gives %d bytes, wanted %d: %v", i, len(plain), want, err)
		}
		raw = append(raw, plain...)
	}
	if len(raw) != size {
		return nil, fmt.Errorf("cabinet holds %d bytes, its file entry says %d", len(raw), size)
	}
	return raw, nil
}
