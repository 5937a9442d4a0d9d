"""What flatfield, hdr_mask and pointingrefine hand to the pipelines behind them in a flow."""

import pytest
from pymopex.kit import flow

LISTS = {
    "IMAGE_STACK_FILE_NAME": "images.txt",
    "SIGMALIST_FILE_NAME": "sigmas.txt",
    "DCE_STATUS_MASK_LIST": "masks.txt",
    "OUTPUT_DIR": "out",
}
FLAT = {
    "IMAGE_STACK_FILE_NAME": "out/Flatfield/flat_images.txt",
    "SIGMALIST_FILE_NAME": "out/Flatfield/flat_unc_images.txt",
}
MASKS = {"DCE_STATUS_MASK_LIST": "out/HDR_Mask/dmask_images.txt"}
REPLACED = {
    "IMAGE_STACK_FILE_NAME": "out/HDR_Mask/hdr_images.txt",
    "SIGMALIST_FILE_NAME": "out/HDR_Mask/hdr_unc_images.txt",
}


@pytest.mark.parametrize(
    ("pipeline", "given", "handed"),
    [
        ("flatfield", {}, FLAT),
        ("flatfield", {"run_apply_flatfield": "0"}, {}),
        ("hdr_mask", {}, MASKS),
        ("hdr_mask", {"HDR_MASK.Replace_Saturated": "1"}, {**MASKS, **REPLACED}),
        ("pointingrefine", {}, {"USE_REFINED_POINTING": "1"}),
        (
            "pointingrefine",
            {"Update_Headers": "0"},
            {"USE_REFINED_POINTING": "1", "IMAGE_STACK_FILE_NAME": "out/Pointing/refined_images.txt"},
        ),
    ],
)
def test_what_is_handed_on(pipeline, given, handed, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mopex("new", pipeline)[0] == 0
    links = flow._links(pipeline, f"{pipeline}_I1.nl", {**LISTS, **given})
    for later in ("overlap", "mosaic", "apex", "apex_qa"):
        assert links[later] == handed
