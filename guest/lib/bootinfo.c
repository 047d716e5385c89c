#include "lib/bootinfo.h"
#include "lib/rt.h"

#define MULTIBOOT_MAGIC	  0x2badb002
#define MULTIBOOT_CMDLINE (1U << 2)
#define MULTIBOOT_MODULES (1U << 3)
#define MULTIBOOT_MMAP	  (1U << 6)
#define PVH_MAGIC	  0x336ec578
#define SETUP_HDRS	  0x53726448

struct __attribute__((packed)) multiboot_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct __attribute__((packed)) multiboot_mmap {
	uint32_t size;
	uint64_t addr, len;
	uint32_t type;
};

struct __attribute__((packed)) hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct hvm_memmap {
	uint64_t addr, size;
	uint32_t type, reserved;
};

struct __attribute__((packed)) e820_entry {
	uint64_t addr, size;
	uint32_t type;
};

extern uint32_t boot_magic, boot_arg, boot_proto;

static struct boot_info info;

const struct boot_info *boot_info(void)
{
	return &info;
}

static void add_range(uint64_t addr, uint64_t len, uint32_t type)
{
	if (info.map_count < MEM_RANGES)
		info.map[info.map_count++] = (struct mem_range){addr, len, type};
}

static void from_multiboot(const struct multiboot_info *mb)
{
	info.valid = boot_magic == MULTIBOOT_MAGIC;
	if (!info.valid)
		return;
	if (mb->flags & MULTIBOOT_CMDLINE)
		info.cmdline = (const char *)(uint64_t)mb->cmdline;
	if (mb->flags & MULTIBOOT_MODULES && mb->mods_count) {
		info.initrd = read32(mb->mods_addr);
		info.initrd_len = read32(mb->mods_addr + 4) - info.initrd;
	}
	if (!(mb->flags & MULTIBOOT_MMAP))
		return;
	for (uint32_t at = 0; at + sizeof(struct multiboot_mmap) <= mb->mmap_length;) {
		const struct multiboot_mmap *m = (const void *)(uint64_t)(mb->mmap_addr + at);

		add_range(m->addr, m->len, m->type);
		at += m->size + 4;
	}
}

static void from_pvh(const struct hvm_start_info *si)
{
	const struct hvm_memmap *map = (const void *)si->memmap;

	info.valid = si->magic == PVH_MAGIC;
	if (!info.valid)
		return;
	info.cmdline = (const char *)si->cmdline;
	info.rsdp = si->rsdp;
	if (si->nr_modules) {
		info.initrd = read64(si->modlist);
		info.initrd_len = read64(si->modlist + 8);
	}
	for (uint32_t i = 0; si->version >= 1 && i < si->memmap_entries; i++)
		add_range(map[i].addr, map[i].size, map[i].type);
}

/* The offsets are those of Linux's boot_params, the "zero page". */
static void from_linux(uint64_t zero_page)
{
	const struct e820_entry *e820 = (const void *)(zero_page + 0x2d0);

	info.valid = read32(zero_page + 0x202) == SETUP_HDRS;
	info.cmdline = (const char *)(read32(zero_page + 0x228) |
				      (uint64_t)read32(zero_page + 0x0c8) << 32);
	info.initrd = read32(zero_page + 0x218) | (uint64_t)read32(zero_page + 0x0c0) << 32;
	info.initrd_len = read32(zero_page + 0x21c) | (uint64_t)read32(zero_page + 0x0c4) << 32;
	info.rsdp = read64(zero_page + 0x070);
	info.setup_data = read64(zero_page + 0x250);
	for (unsigned i = 0; i < read8(zero_page + 0x1e8); i++)
		add_range(e820[i].addr, e820[i].size, e820[i].type);
}

void boot_info_init(void)
{
	info.proto = (enum boot_proto)boot_proto;
	if (info.proto == BOOT_PROTO_MULTIBOOT)
		from_multiboot((const void *)(uint64_t)boot_arg);
	else if (info.proto == BOOT_PROTO_PVH)
		from_pvh((const void *)(uint64_t)boot_arg);
	else
		from_linux(boot_arg);
	if (!info.cmdline)
		info.cmdline = "";
}

/* The text behind the word in the command line, or NULL. */
static const char *find_word(const char *word)
{
	const char *at = info.cmdline;
	size_t len = strlen(word);

	while (*at) {
		if (!strncmp(at, word, len) && (!at[len] || at[len] == ' ' || at[len] == '='))
			return at + len;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return NULL;
}

bool cmdline_has(const char *word)
{
	return find_word(word) != NULL;
}

uint64_t cmdline_number(const char *word, uint64_t fallback)
{
	const char *at = find_word(word);
	uint64_t v = 0;

	if (!at || *at != '=' || at[1] < '0' || at[1] > '9')
		return fallback;
	for (at++; *at >= '0' && *at <= '9'; at++)
		v = v * 10 + (uint64_t)(*at - '0');
	return v;
}
