package e2e

import (
	"fmt"
	"os"
	"path/filepath"

	"symkeep/internal/validate"
)

// identifyFlag makes the test's own program identify one file. No command of symkeep does
// that alone: `check` runs every check after it.
const identifyFlag = "-identify-file"

// identifyChild does the work of such a process. A TestMain calls it first, and if ok
// exits with the code at once.
func identifyChild() (code int, ok bool) {
	if len(os.Args) != 3 || os.Args[1] != identifyFlag {
		return 0, false
	}
	id, err := identifyFile(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1, true
	}
	for _, ids := range id.IDs {
		fmt.Println(id.Kind, ids.Arch, ids.BuildID, ids.DebugID, ids.CodeID)
	}
	for _, k := range id.Keys {
		fmt.Println(k.Key)
	}
	return 0, true
}

func identifyFile(path string) (validate.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return validate.Identity{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return validate.Identity{}, err
	}
	return validate.Identify(f, fi.Size(), filepath.Base(path))
}
