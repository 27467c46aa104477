package main

import (
	"github.com/spf13/pflag"

	"symkeep/agent"
)

const sourcesHelp = "--sources adds the source files that the DWARF of the files names and that are on this\n" +
	"machine; debuggers then list source without a copy of their own (debuginfod). It reads\n" +
	"whatever DWARF names, so use it on builds you trust. --source-root FROM=TO says where\n" +
	"files are that the compiler knew below FROM, as with -ffile-prefix-map=TO=FROM; a FROM of\n" +
	". means relative names."

// sourceFlags are --sources and --source-root.
type sourceFlags struct {
	wanted bool
	roots  []string
}

func (s *sourceFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&s.wanted, "sources", false, "add the source files that debug information names")
	f.StringArrayVar(&s.roots, "source-root", nil, "`FROM=TO`: look below TO for what debug information has below FROM; implies --sources; may be repeated")
}

// parse returns nil where no sources are wanted.
func (s *sourceFlags) parse() (*agent.Sources, error) {
	if !s.wanted && len(s.roots) == 0 {
		return nil, nil
	}
	from := &agent.Sources{}
	for _, text := range s.roots {
		root, err := agent.ParseSourceRoot(text)
		if err != nil {
			return nil, err
		}
		from.Roots = append(from.Roots, root)
	}
	return from, nil
}
