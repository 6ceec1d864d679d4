package node

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// payload is the content of a volume that the cluster fills.
type payload struct {
	files map[string]file // By path below the volume.
	group int             // That may read them; -1: no special one.
}

type file struct {
	content string
	mode    os.FileMode
	owner   int
}

func (p *payload) equals(other *payload) bool {
	return other != nil && p.group == other.group && maps.Equal(p.files, other.files)
}

const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
)

// write shows the content in the volume's folder, all of it at the same instant, as the kubelet does: the files are in a
// folder of their own, the link ..data is replaced by one to that folder, and every name is a link through ..data.
func (p *payload) write(volume string) error {
	if err := os.MkdirAll(volume, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	old, _ := os.Readlink(filepath.Join(volume, dataLink)) // There is none the first time.
	version, err := os.MkdirTemp(volume, "..version_")
	if err != nil {
		return fmt.Errorf("making a folder for the new content: %w", err)
	}
	if err := os.Chmod(version, 0o755); err != nil {
		return err
	}
	for path, one := range p.files {
		if err := p.writeFile(filepath.Join(version, path), one); err != nil {
			return err
		}
	}
	link := filepath.Join(volume, newDataLink)
	if err := os.Symlink(filepath.Base(version), link); err != nil {
		return fmt.Errorf("linking the new content: %w", err)
	}
	if err := os.Rename(link, filepath.Join(volume, dataLink)); err != nil {
		return fmt.Errorf("switching to the new content: %w", err)
	}
	if err := p.linkNames(volume); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	return os.RemoveAll(filepath.Join(volume, old))
}

func (p *payload) writeFile(path string, one file) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(one.content), 0o600); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	mode, owner := one.mode, one.owner
	if p.group >= 0 {
		mode, owner = mode|0o440, 0
	}
	if owner != 0 || p.group > 0 {
		if err := os.Chown(path, owner, max(p.group, 0)); err != nil {
			return fmt.Errorf("giving a file to its owner: %w", err)
		}
	}
	return os.Chmod(path, mode) // After chown, and unlike WriteFile not bounded by the umask.
}

// linkNames makes a link for each name at the top, and removes those of names that are gone.
func (p *payload) linkNames(volume string) error {
	wanted := map[string]bool{}
	for path := range p.files {
		top, _, _ := strings.Cut(path, "/")
		wanted[top] = true
	}
	entries, err := os.ReadDir(volume)
	if err != nil {
		return fmt.Errorf("reading the volume: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "..") {
			continue
		}
		if wanted[name] {
			delete(wanted, name)
			continue
		}
		if err := os.Remove(filepath.Join(volume, name)); err != nil {
			return fmt.Errorf("removing a name: %w", err)
		}
	}
	for name := range wanted {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(volume, name)); err != nil {
			return fmt.Errorf("linking a name: %w", err)
		}
	}
	return nil
}
