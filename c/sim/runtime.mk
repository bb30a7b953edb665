# The simulated runtime libraries, under the vendors' own sonames. As the real ones they bind their
# own symbols to themselves (-Bsymbolic): a preloaded library sees only what comes from outside.
SIM_CUDA = $(BUILD)/sim/libcuda.so.1
SIM_CUDART = $(BUILD)/sim/libcudart.so.12
SIM_ASCEND_RUNTIME = $(BUILD)/sim/libruntime.so
SIM_ASCENDCL = $(BUILD)/sim/libascendcl.so
SIM_HIP = $(BUILD)/sim/libamdhip64.so
SIM_CNDRV = $(BUILD)/sim/libcndrv.so
SIM_CNRT = $(BUILD)/sim/libcnrt.so
SIM_MUSA = $(BUILD)/sim/libmusa.so
SIM_MUSART = $(BUILD)/sim/libmusart.so
SIM_RUNTIMES = $(SIM_CUDA) $(SIM_CUDART) $(SIM_ASCEND_RUNTIME) $(SIM_ASCENDCL) $(SIM_HIP) \
               $(SIM_CNDRV) $(SIM_CNRT) $(SIM_MUSA) $(SIM_MUSART)
ALL += $(SIM_RUNTIMES)

.PHONY: runtimes
runtimes: $(SIM_RUNTIMES)

SIM_MEMORY = sim/blocks.c sim/card_memory.c sim/pools.c sim/runtime_handles.c sim/visible.c \
             sim/scenario.c sim/scenario_parse.c interceptor/process.c
SIM_MEMORY_HEADERS = sim/blocks.h sim/card_memory.h sim/pools.h sim/runtime_handles.h \
                     sim/visible.h sim/scenario.h interceptor/process.h
SIM_WORK = sim/card_work.c sim/graph_memory.c
SIM_WORK_HEADERS = sim/card_work.h sim/graph_memory.h
SIM_CARDS = sim/runtime_cards.c $(SIM_MEMORY)
SIM_CARDS_HEADERS = sim/runtime_cards.h $(SIM_MEMORY_HEADERS)

# A driver is linked from its sources alone, a runtime also with the driver's library below it.
LINK_SIM_RUNTIME = mkdir -p $(@D) && $(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -Wl,-Bsymbolic \
                   -o $@ $(filter %.c %.so,$^) -pthread

$(SIM_CUDA): sim/cuda.c sim/cuda_lookup.c sim/cuda_memory.c sim/cuda_pools.c sim/cuda_work.c \
             sim/cuda.h $(SIM_MEMORY) $(SIM_MEMORY_HEADERS) $(SIM_WORK) $(SIM_WORK_HEADERS)
	@$(LINK_SIM_RUNTIME)

$(SIM_CUDART): sim/cudart.c sim/cudart_memory.c sim/cudart_work.c sim/cudart.h sim/cuda.h \
               sim/graph_memory.h sim/cudart.map
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -Wl,--version-script=sim/cudart.map \
	  -o $@ $(filter %.c,$^) -ldl -pthread

$(SIM_ASCEND_RUNTIME): sim/runtime_ascend.c sim/runtime_ascend_memory.c \
                       sim/runtime_ascend_work.c sim/runtime_ascend.h $(SIM_CARDS) \
                       $(SIM_CARDS_HEADERS) $(SIM_WORK) $(SIM_WORK_HEADERS)
	@$(LINK_SIM_RUNTIME)

$(SIM_ASCENDCL): sim/ascendcl.c sim/ascendcl_memory.c sim/runtime_ascend.h $(SIM_ASCEND_RUNTIME)
	@$(LINK_SIM_RUNTIME)

$(SIM_HIP): sim/hip.c sim/hip_arrays.c sim/hip_launch.c sim/hip_lookup.c sim/hip_pools.c \
            sim/hip_work.c sim/hip.h sim/hip.map $(SIM_CARDS) $(SIM_CARDS_HEADERS) $(SIM_WORK) \
            $(SIM_WORK_HEADERS)
	@$(LINK_SIM_RUNTIME) -Wl,--version-script=sim/hip.map

$(SIM_CNDRV): sim/cndrv.c sim/cndrv_memory.c sim/cndrv_pools.c sim/cndrv_work.c sim/cndrv.h \
              $(SIM_CARDS) $(SIM_CARDS_HEADERS) $(SIM_WORK) $(SIM_WORK_HEADERS)
	@$(LINK_SIM_RUNTIME)

$(SIM_CNRT): sim/cnrt.c sim/cndrv.h $(SIM_CNDRV)
	@$(LINK_SIM_RUNTIME)

$(SIM_MUSA): sim/musa.c sim/musa_lookup.c sim/musa_pools.c sim/musa_work.c sim/musa.h $(SIM_CARDS) \
             $(SIM_CARDS_HEADERS) $(SIM_WORK) $(SIM_WORK_HEADERS)
	@$(LINK_SIM_RUNTIME)

$(SIM_MUSART): sim/musart.c sim/musa.h $(SIM_MUSA)
	@$(LINK_SIM_RUNTIME)
