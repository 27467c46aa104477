//go:build !linux

package symhttp

import "os"

// changed is the modification time, where nothing better is at hand.
func changed(file os.FileInfo) int64 { return file.ModTime().UnixNano() }
