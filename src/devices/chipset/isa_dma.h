#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/state.h"
#include "vmm/gpa.h"
#include "vmm/io_bus.h"

/*
 * ISA DMA: two 8237A controllers, the second for words and with the first in its channel 0 (4 of
 * the machine), and the page registers of a PC/AT (82371AB data sheet, 4.2).  A device with a
 * request moves its data by isa_dma_transfer; memory that is not RAM reads as ones and takes
 * nothing, as on a bus where nobody answers.
 *
 * One leaf lock for all of it.
 */

struct isa_dma;

#define ISA_DMA_CHANNELS 8u

/* What a device's request is for.  Verify moves nothing, and counts. */
enum isa_dma_direction { ISA_DMA_VERIFY, ISA_DMA_TO_MEMORY, ISA_DMA_FROM_MEMORY };

/* Takes the ports 0x00-0x0f, 0x80-0x8f (but 0x80, which is free to be a POST code) and 0xc0-0xdf;
 * both outlive it.  -errno of io_bus_add.  Before the VPs run. */
int isa_dma_new(struct io_bus *ports, struct gpa_space *gpa, struct isa_dma **out);
void isa_dma_free(struct isa_dma *dma);
/* VPs paused. */
void isa_dma_reset(struct isa_dma *dma);
/* Into, and from, the node that is open.  VPs paused, no transfer in hand.  -ENOENT, -EINVAL. */
void isa_dma_save(struct isa_dma *dma, struct state_writer *writer);
int isa_dma_restore(struct isa_dma *dma, const struct state_node *node);

/* How many bytes the channel is ready to move in that direction; 0 where the guest has masked it
 * or set it up otherwise.  Any thread. */
uint32_t isa_dma_ready(struct isa_dma *dma, unsigned int channel, enum isa_dma_direction direction);
/*
 * Moves up to bytes bytes between data and memory, as far as the channel's count goes; returns how
 * many.  *terminal: the count has ended.  Any thread.
 */
uint32_t isa_dma_transfer(struct isa_dma *dma, unsigned int channel,
			  enum isa_dma_direction direction, void *data, uint32_t bytes,
			  bool *terminal);
