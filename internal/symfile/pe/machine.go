package pe

import (
	"fmt"

	"symkeep/internal/symfile"
)

// osMasks are what the machine of a ready-to-run image for another system is
// combined with. Source: .NET runtime, src/coreclr/inc/pedecoder.h,
// IMAGE_FILE_MACHINE_OS_MASK_*.
var osMasks = []uint16{0x7b79, 0x4644, 0xadc4, 0x1993, 0x1992}

// MachineKnown reports whether Machine is one that images have.
func (f *File) MachineKnown() bool {
	_, ok := f.machine()
	return ok
}

func (f *File) machine() (string, bool) {
	if name, ok := symfile.COFFArch(f.Machine); ok {
		return name, true
	}
	if f.Dirs[DirCLR].Size == 0 {
		return "", false
	}
	for _, mask := range osMasks {
		switch m := f.Machine ^ mask; m {
		case 0x14c, 0x8664, 0xaa64, 0x1c4, 0x6264, 0x5064:
			return symfile.COFFArch(m)
		}
	}
	return "", false
}

// Arch returns the architecture the image runs on. Managed code without native
// code says x86 in its header but runs anywhere.
func (f *File) Arch() string {
	name, ok := f.machine()
	if !ok {
		return fmt.Sprintf("%#x", f.Machine)
	}
	if f.Machine == 0x14c {
		if clr, ok := f.CLR(); ok && clr.ILOnly && !clr.Requires32Bit && !clr.ReadyToRun {
			return symfile.ArchAnyCPU
		}
	}
	return name
}

const clrHeaderLen = 72

// A CLR is what the header of a managed image says.
type CLR struct {
	ILOnly        bool
	Requires32Bit bool
	ReadyToRun    bool // holds native code beside IL
}

// CLR reads the managed header, and is false for a native image or if the header
// cannot be read. Source: ECMA-335 II.25.3.3.
func (f *File) CLR() (CLR, bool) {
	d := f.Dirs[DirCLR]
	off, ok := f.offset(d.RVA, clrHeaderLen)
	if d.RVA == 0 || d.Size < clrHeaderLen || !ok || off+clrHeaderLen > f.size {
		return CLR{}, false
	}
	var b [clrHeaderLen]byte
	if n, _ := f.r.ReadAt(b[:], off); n < len(b) {
		return CLR{}, false
	}
	flags := le.Uint32(b[16:])
	return CLR{ILOnly: flags&1 != 0, Requires32Bit: flags&2 != 0, ReadyToRun: le.Uint32(b[68:]) != 0}, true
}
