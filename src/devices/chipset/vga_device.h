#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/event_loop.h"
#include "devices/chipset/pci.h"
#include "devices/chipset/vga.h"
#include "devices/desktop.h"
#include "devices/device.h"

/*
 * The device "vga" in two halves: vga.c is the adapter as the guest sees it, on VP threads;
 * vga_screen.c draws it for those who look, on the main loop.  Its configuration:
 *   {"vram_fd": the file of video memory (devices/vsp/display_wire.h), "rom_fd": its firmware,
 *    optional}
 *
 * What the file holds is not in the saved state: who saves RAM saves it, too.
 */

struct vga {
	struct device_env env;
	struct pci_function *function; /* NULL without a bus */
	int vram;
	uint8_t *memory; /* DISPLAY_FILE_BYTES */
	bool placed;	 /* it has its ports and its window */

	pthread_mutex_t lock; /* the registers, and writes to the memory by the window; a leaf */
	struct vga_registers regs;

	atomic_bool changed;	    /* the picture may have, since it was drawn */
	_Atomic uint64_t linear_at; /* where the guest has the framebuffer; 0: nowhere */

	/* The loop's own. */
	unsigned int moves; /* of the framebuffer, since the last restart */
	struct event_source *timer;
	int wake_fd; /* signalled as linear_at changes */
	struct event_source *wake;
};

/* vga_rom.c: makes an adapter's firmware that of the function with that identity.  False, and it is
 * as it was, if it is no PCI firmware. */
bool vga_rom_adopt(uint8_t *rom, size_t size, uint16_t vendor, uint16_t device);

/* vga_screen.c.  Main loop. */

/* -errno. */
int vga_screen_open(struct vga *vga);
void vga_screen_close(struct vga *vga);
/* After a restart or a restore. */
void vga_screen_renew(struct vga *vga);
/* The framebuffer is elsewhere.  Any thread. */
void vga_screen_moved(struct vga *vga, uint64_t address);
/* As struct desktop_screen has it. */
void vga_screen_text(void *context, struct device_call *call);
/* Brings the desktop's mode and picture up to date. */
void vga_screen_draw(struct vga *vga);
