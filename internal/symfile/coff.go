package symfile

var coffArchs = map[uint16]string{
	0x14c: ArchX86, 0x8664: ArchX64, 0xaa64: ArchARM64,
	0x1c0: ArchARM, 0x1c2: ArchARM, 0x1c4: ArchARM,
	0xa641: "arm64ec", 0xa64e: "arm64x", 0x200: "ia64", 0xebc: "ebc",
	0x162: "mips", 0x166: "mips", 0x168: "mips", 0x169: "mips", 0x266: "mips16", 0x366: "mips", 0x466: "mips16",
	0x184: "alpha", 0x284: "alpha64", 0x1f0: "ppc", 0x1f1: "ppc",
	0x1a2: "sh3", 0x1a3: "sh3", 0x1a6: "sh4", 0x1a8: "sh5",
	0x5032: "riscv32", 0x5064: "riscv64", 0x5128: "riscv128", 0x6232: "loongarch32", 0x6264: "loongarch64",
}

// COFFArch names the architecture of a COFF machine number, as PE, PDB and .dbg
// files carry it. It is false for a number nobody uses.
// Source: PE format, section "Machine Types".
func COFFArch(machine uint16) (string, bool) {
	name, ok := coffArchs[machine]
	return name, ok
}
