# The simulated runtime libraries, under the vendors' own sonames. As the real ones they bind their
# own symbols to themselves (-Bsymbolic): a preloaded library sees only what comes from outside.
SIM_CUDA = $(BUILD)/sim/libcuda.so.1
SIM_CUDART = $(BUILD)/sim/libcudart.so.12
SIM_ASCENDCL = $(BUILD)/sim/libascendcl.so
ALL += $(SIM_CUDA) $(SIM_CUDART) $(SIM_ASCENDCL)

SIM_RUNTIME = sim/blocks.c sim/card_memory.c sim/visible.c sim/scenario.c \
              sim/scenario_parse.c interceptor/process.c
SIM_RUNTIME_HEADERS = sim/blocks.h sim/card_memory.h sim/visible.h sim/scenario.h \
                      interceptor/process.h

$(SIM_CUDA): sim/cuda.c sim/cuda.h $(SIM_RUNTIME) $(SIM_RUNTIME_HEADERS)
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -Wl,-Bsymbolic -o $@ \
	  $(filter %.c,$^) -pthread

$(SIM_CUDART): sim/cudart.c sim/cuda.h sim/cudart.map
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -Wl,--version-script=sim/cudart.map \
	  -o $@ $(filter %.c,$^) -ldl -pthread

$(SIM_ASCENDCL): sim/ascendcl.c $(SIM_RUNTIME) $(SIM_RUNTIME_HEADERS)
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -Wl,-Bsymbolic -o $@ \
	  $(filter %.c,$^) -pthread
