// Package minidump reads which modules a crashed process had loaded from a
// minidump: names, code ids, and the identity of the debug file that each module's
// CodeView record gives. It reads dumps that Windows writes and those that Breakpad
// and Crashpad write on other systems.
//
// It reads the header, the stream directory, the list of modules and the system's
// description, never memory or threads, so that the size of a dump does not matter.
// Integers are little-endian; a stream is named by its offset, "RVA", from the start
// of the file.
//
// Sources: MINIDUMP_HEADER, MINIDUMP_DIRECTORY, MINIDUMP_MODULE_LIST,
// MINIDUMP_MODULE, MINIDUMP_SYSTEM_INFO and MINIDUMP_STRING of minidumpapiset.h;
// Breakpad's minidump_format.h for platform ids above 0x8000 and MDCVInfoELF.
package minidump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"symkeep/internal/symfile"
)

// Kinds of damage, wrapped by the errors of this package. Every one of them is a
// *symfile.FormatError; errors of the reader come as they are.
var (
	ErrHeader = errors.New("damaged minidump")
	ErrModule = errors.New("damaged module record")
)

// Bounds. A process has a few hundred modules, a dump some twenty streams.
const (
	maxStreams = 1 << 16
	maxModules = 100_000
	maxName    = 64 << 10 // bytes of a name in UTF-16
	maxRecord  = 64 << 10 // bytes of a CodeView record
	maxText    = 64 << 20 // bytes of all names and records, which may share their place in the file
)

const (
	headerLen  = 32
	version    = 0xa793 // low half of the version field
	moduleLen  = 108
	streamMods = 4
	streamSys  = 7
)

var le = binary.LittleEndian

// An OS is the system that the process ran on.
type OS string

// Systems. The empty one is not known: the dump does not say, or says another.
const (
	Windows OS = "windows"
	Linux   OS = "linux"
	Android OS = "android"
	MacOS   OS = "macos"
	IOS     OS = "ios"
)

// A Dump is what a minidump says of the process.
type Dump struct {
	OS      OS
	Arch    string // as catalog.IDs.Arch; empty if the dump does not say
	Modules []Module
}

// place is where a stream or record lies.
type place struct{ off, size int64 }

// Parse reads r, which holds size bytes. Errors wrap ErrHeader. A module whose name
// or record cannot be read is there with what can, and says so in Damage.
func Parse(r io.ReaderAt, size int64) (*Dump, error) {
	streams, err := readDirectory(r, size)
	if err != nil {
		return nil, err
	}
	d := &Dump{}
	if at, ok := streams[streamSys]; ok {
		if err := d.readSystem(r, size, at); err != nil {
			return nil, err
		}
	}
	at, ok := streams[streamMods]
	if !ok {
		return nil, damaged(0, "stream directory", "no list of modules", "a stream of type 4")
	}
	return d, d.readModules(r, size, at)
}

// readDirectory returns the first stream of each type.
func readDirectory(r io.ReaderAt, size int64) (map[uint32]place, error) {
	b, err := symfile.Read(r, size, 0, headerLen, "header", ErrHeader)
	if err != nil {
		return nil, err
	}
	if string(b[:4]) != "MDMP" || le.Uint16(b[4:]) != version {
		return nil, damaged(0, "header", fmt.Sprintf("% x", b[:6]), `"MDMP" and version a793`)
	}
	count, off := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	if count > maxStreams {
		return nil, damaged(8, "number of streams", fmt.Sprint(count), fmt.Sprintf("at most %d", maxStreams))
	}
	if b, err = symfile.Read(r, size, off, 12*count, "stream directory", ErrHeader); err != nil {
		return nil, err
	}
	streams := map[uint32]place{}
	for ; len(b) > 0; b = b[12:] {
		if _, known := streams[le.Uint32(b)]; !known {
			streams[le.Uint32(b)] = place{int64(le.Uint32(b[8:])), int64(le.Uint32(b[4:]))}
		}
	}
	return streams, nil
}

// readSystem reads the first 24 bytes of a MINIDUMP_SYSTEM_INFO.
func (d *Dump) readSystem(r io.ReaderAt, size int64, at place) error {
	b, err := symfile.Read(r, size, at.off, 24, "system information", ErrHeader)
	if err != nil {
		return err
	}
	d.Arch = map[uint16]string{0: symfile.ArchX86, 5: symfile.ArchARM, 9: symfile.ArchX64, 12: symfile.ArchARM64, 0x8003: symfile.ArchARM64}[le.Uint16(b)]
	switch platform := le.Uint32(b[20:]); platform {
	case 1, 2, 3:
		d.OS = Windows
	case 0x8101:
		d.OS = MacOS
	case 0x8102:
		d.OS = IOS
	case 0x8201:
		d.OS = Linux
	case 0x8203:
		d.OS = Android
	}
	return nil
}

// readModules reads a MINIDUMP_MODULE_LIST. Some writers align the modules to 8
// bytes, which shows in the size of the stream.
func (d *Dump) readModules(r io.ReaderAt, size int64, at place) error {
	b, err := symfile.Read(r, size, at.off, 4, "list of modules", ErrHeader)
	if err != nil {
		return err
	}
	count := int64(le.Uint32(b))
	if count > maxModules {
		return damaged(at.off, "number of modules", fmt.Sprint(count), fmt.Sprintf("at most %d", maxModules))
	}
	first := at.off + 4
	if at.size == 8+moduleLen*count {
		first += 4
	}
	if b, err = symfile.Read(r, size, first, moduleLen*count, "list of modules", ErrHeader); err != nil {
		return err
	}
	text := &texts{r: r, size: size, left: maxText}
	for ; len(b) > 0; b = b[moduleLen:] {
		m, err := text.module(b)
		if err != nil {
			return err
		}
		d.Modules = append(d.Modules, m)
	}
	return nil
}

func damaged(off int64, what, found, want string) error {
	return &symfile.FormatError{Off: off, What: what, Found: found, Want: want, Kind: ErrHeader}
}
