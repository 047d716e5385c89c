#pragma once
#include "lib/cpu.h"

enum boot_proto { BOOT_PROTO_MULTIBOOT = 1, BOOT_PROTO_PVH = 2, BOOT_PROTO_LINUX64 = 3 };

#define MEM_RAM	   1
#define MEM_RANGES 32

struct mem_range {
	uint64_t addr, len;
	uint32_t type; /* as E820 counts them */
};

/* What every boot protocol tells, in one form; addresses are physical, 0 where not given. */
struct boot_info {
	enum boot_proto proto;
	bool valid; /* the protocol's magic number was there */
	const char *cmdline;
	uint64_t initrd, initrd_len;
	uint64_t rsdp;
	uint64_t setup_data; /* Linux protocol only */
	unsigned map_count;
	struct mem_range map[MEM_RANGES];
};

void boot_info_init(void);
const struct boot_info *boot_info(void);

/* Is WORD, or WORD=something, on the command line? */
bool cmdline_has(const char *word);
/* The number after WORD= on the command line, or FALLBACK. */
uint64_t cmdline_number(const char *word, uint64_t fallback);
