package elf

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"symkeep/internal/symfile"
)

// Executable reports whether the file can be loaded and run: a program or shared
// object, or a kernel module, whose code is in the file. A split debug file has
// only the headers of its code.
func (f *File) Executable() bool {
	switch f.Type {
	case TypeExec, TypeDyn:
	case TypeRel:
		return f.KernelModule() && f.hasCode()
	default:
		return false
	}
	return f.hasCode()
}

// hasCode reports whether .text has content. Without a .text any loaded content
// counts; without sections any loaded segment does.
func (f *File) hasCode() bool {
	if s := f.Section(".text"); s != nil {
		return s.Type != SectionNoBits
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Allocated() && s.Type == SectionProgBits && s.Size > 0 {
			return true
		}
	}
	if len(f.Sections) > 0 {
		return false
	}
	for _, p := range f.Segments {
		if p.Type == segLoad && p.FileSize > 0 {
			return true
		}
	}
	return false
}

// splitDebug reports whether the file describes the code of an image without
// holding it.
func (f *File) splitDebug() bool {
	s := f.Section(".text")
	return s != nil && s.Type == SectionNoBits || s == nil && len(f.Sections) > 0 && !f.hasCode()
}

// SplitDebug reports whether the file is the debug half of an image: it has
// sections, but none of the image's code.
func (f *File) SplitDebug() bool { return f.splitDebug() }

// DebugInfo returns the section with the DWARF units, or nil if the file has
// none.
func (f *File) DebugInfo() *Section { return f.content(".debug_info", ".zdebug_info") }

// HasSymtab reports whether the file has the full symbol table.
func (f *File) HasSymtab() bool {
	for i := range f.Sections {
		if f.Sections[i].Type == SectionSymtab && f.Sections[i].Size > 0 {
			return true
		}
	}
	return false
}

// Debuginfo reports whether the file tells a debugger more than the loaded image
// does: DWARF, or at least the full symbol table.
func (f *File) Debuginfo() bool { return f.DebugInfo() != nil || f.HasSymtab() }

// KernelModule reports whether a relocatable file carries the marks of a Linux
// kernel module.
func (f *File) KernelModule() bool {
	return f.Type == TypeRel && (f.Section(".gnu.linkonce.this_module") != nil || f.Section(".modinfo") != nil)
}

// Object reports whether the file is the compiler's output that the linker
// consumes: relocatable with code or data, and no kernel module. The common file
// that dwz makes and split DWARF are relocatable too, but hold no program.
func (f *File) Object() bool {
	if f.Type != TypeRel || f.KernelModule() || f.SplitUnits() != nil {
		return false
	}
	for i := range f.Sections {
		if s := &f.Sections[i]; s.Allocated() && s.Type != SectionNote {
			return true
		}
	}
	return f.Section(".symtab") != nil || f.DebugInfo() == nil
}

// Bytecode reports whether the file is what Guile compiles Scheme to: instructions of its
// virtual machine in an ELF file, which no system loader takes and which has no build id.
// Source: GNU Guile Reference Manual, "Object File Format".
func (f *File) Bytecode() bool {
	return slices.ContainsFunc(f.Sections, func(s Section) bool { return strings.HasPrefix(s.Name, ".guile.") })
}

// SplitUnits returns the section with the units of a .dwo or .dwp file, or nil.
func (f *File) SplitUnits() *Section { return f.content(".debug_info.dwo", ".zdebug_info.dwo") }

// DWP reports whether the file is a package of split DWARF.
func (f *File) DWP() bool { return f.content(".debug_cu_index", ".debug_tu_index") != nil }

// MiniDebugInfo reports whether an xz-compressed symbol table is embedded.
func (f *File) MiniDebugInfo() bool { return f.content(".gnu_debugdata") != nil }

// GoProgram reports whether the Go linker made the file.
func (f *File) GoProgram() bool {
	return f.Section(".go.buildinfo") != nil || f.Section(".gopclntab") != nil || f.Section(".note.go.buildid") != nil
}

// LTOBytes returns how many bytes of compiler intermediate code the file carries.
func (f *File) LTOBytes() uint64 {
	var n uint64
	for i := range f.Sections {
		s := &f.Sections[i]
		if s.HasContent() && f.fits(s.Offset, s.Size) &&
			(strings.HasPrefix(s.Name, ".gnu.lto_") || strings.HasPrefix(s.Name, ".llvm.lto")) {
			n += s.Size
		}
	}
	return n
}

var machines = map[uint16]string{
	2: "sparc", 3: symfile.ArchX86, 4: "m68k", 8: "mips", 15: "hppa", 18: "sparc", 20: "ppc", 21: "ppc64", 22: "s390",
	40: symfile.ArchARM, 42: "sh", 43: "sparc64", 50: "ia64", 62: symfile.ArchX64, 94: "xtensa", 183: symfile.ArchARM64,
	224: "amdgpu", 243: "riscv", 247: "bpf", 252: "csky", 258: "loongarch",
}

// Arch returns the name of the machine, with the width where one machine number
// stands for both. Unknown numbers print as hex.
func (f *File) Arch() string {
	name, ok := machines[f.Machine]
	if !ok {
		return fmt.Sprintf("%#x", f.Machine)
	}
	switch {
	case name == "s390" && f.Class == Class64:
		return "s390x"
	case name == symfile.ArchX64 && f.Class == Class32:
		return "x32"
	case name == "mips" && f.Class == Class64, (name == "riscv" || name == "loongarch") && f.Class == Class64:
		return name + "64"
	case name == "riscv" || name == "loongarch":
		return name + "32"
	}
	return name
}

// BigEndian reports the byte order of the file.
func (f *File) BigEndian() bool { return f.Order == binary.BigEndian }
